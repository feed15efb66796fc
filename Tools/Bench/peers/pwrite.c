// Pages written in place, then fdatasync. Not atomic: a crash leaves any part of a commit.
#include "peer.h"

#include <unistd.h>

static int fd;

static void prepare(void *context, const char *dir, uint32_t pages) {
    (void)context;
    fd = peer_filled_file(peer_path(dir, "object"), (uint64_t)pages * PEER_PAGE_BYTES, 0);
}

static void commit(void *context, const uint32_t *page, const uint8_t *content, size_t count) {
    (void)context;
    for (size_t i = 0; i < count; i++) {
        off_t at = (off_t)page[i] * PEER_PAGE_BYTES;
        if (pwrite(fd, content + i * PEER_PAGE_BYTES, PEER_PAGE_BYTES, at) != PEER_PAGE_BYTES) peer_fail("pwrite", 0);
    }
    if (fdatasync(fd)) peer_fail("fdatasync", 0);
}

static void finish(void *context) {
    (void)context;
    close(fd);
}

int main(int argc, char **argv) {
    const struct peer_engine engine = {NULL, prepare, commit, finish};
    return peer_main_arguments(&engine, argc, argv);
}
