# --8<-- [start:line]
eval "$(_IDFKIT_FS_COMPLETE=bash_source idfkit-fs)"
# --8<-- [end:line]
complete -p idfkit-fs
