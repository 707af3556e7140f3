idfkit-fs cache info
idfkit-fs cache prune --max-bytes 2GB
idfkit-fs cache clear
