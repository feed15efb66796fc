// Boost.Interprocess' managed_mapped_file: a heap in a shared file mapping, durable whenever the kernel writes it.
extern "C" {
#include "peer.h"
}

#include <boost/interprocess/managed_mapped_file.hpp>
#include <string>

typedef void *block;

static boost::interprocess::managed_mapped_file *heap;

static void heap_prepare(const char *dir) {
    heap = new boost::interprocess::managed_mapped_file(
        boost::interprocess::create_only, (std::string(dir) + "/heap").c_str(), size_t(1) << 30);
}

static inline void block_allocate(block *slot, size_t size) {
    *slot = heap->allocate(size, std::nothrow);
    if (!*slot) peer_fail_message("allocate", "the file is full");
}

static inline void block_free(block *slot) { heap->deallocate(*slot); }

static inline void *block_memory(const block *slot) { return *slot; }

#include "allocation.h"
