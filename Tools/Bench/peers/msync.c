// Pages copied into a shared mapping, then one msync of the whole of it, which is faster than one for each
// page as soon as there are two. Not atomic: a crash leaves any part of a commit.
#include "peer.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint8_t *base;
static size_t length;

static void prepare(void *context, const char *dir, uint32_t pages) {
    (void)context;
    length = (size_t)pages * PEER_PAGE_BYTES;
    int fd = peer_filled_file(peer_path(dir, "object"), length, 0);
    base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (base == MAP_FAILED) peer_fail("mmap", 0);
    close(fd);
    if (msync(base, length, MS_SYNC)) peer_fail("msync", 0);
}

static void commit(void *context, const uint32_t *page, const uint8_t *content, size_t count) {
    (void)context;
    for (size_t i = 0; i < count; i++)
        memcpy(base + (size_t)page[i] * PEER_PAGE_BYTES, content + i * PEER_PAGE_BYTES, PEER_PAGE_BYTES);
    if (msync(base, length, MS_SYNC)) peer_fail("msync", 0);
}

static void finish(void *context) {
    (void)context;
    munmap(base, length);
}

int main(int argc, char **argv) {
    const struct peer_engine engine = {NULL, prepare, commit, finish};
    return peer_main_arguments(&engine, argc, argv);
}
