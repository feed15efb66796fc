// libpmemobj's atomic allocations on a plain file, each durable by msync.
#include "peer.h"

#include <libpmemobj.h>
#include <stdlib.h>

typedef PMEMoid block;

static PMEMobjpool *pool;

static void heap_prepare(const char *dir) {
    const char *path = peer_path(dir, "pool");
    pool = pmemobj_create(path, "heap", (size_t)1 << 30, 0600);
    if (!pool) peer_fail_message(path, pmemobj_errormsg());
}

static inline void block_allocate(block *slot, size_t size) {
    if (pmemobj_alloc(pool, slot, size, 1, NULL, NULL)) peer_fail_message("pmemobj_alloc", pmemobj_errormsg());
}

static inline void block_free(block *slot) { pmemobj_free(slot); }

static inline void *block_memory(const block *slot) { return pmemobj_direct(*slot); }

#include "allocation.h"
