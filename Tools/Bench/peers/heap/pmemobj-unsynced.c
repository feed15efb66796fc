// libpmemobj told that the file is persistent memory: it flushes caches and makes nothing durable on this disk.
#include <stdlib.h>

__attribute__((constructor)) static void force(void) { setenv("PMEM_IS_PMEM_FORCE", "1", 1); }

#include "pmemobj.c"
