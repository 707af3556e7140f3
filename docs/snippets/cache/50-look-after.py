from idfkit_fs import cache

print(cache.info())
print(cache.prune("2 GB"), "bytes were removed")
print(cache.clear(), "bytes were removed")
