// The C library's malloc: memory that ends with the process.
#include "peer.h"

#include <stdlib.h>

typedef void *block;

static void heap_prepare(const char *dir) { (void)dir; }

static inline void block_allocate(block *slot, size_t size) {
    *slot = malloc(size);
    if (!*slot) peer_fail("malloc", 0);
}

static inline void block_free(block *slot) { free(*slot); }

static inline void *block_memory(const block *slot) { return *slot; }

#include "allocation.h"
