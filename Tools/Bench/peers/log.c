// The limit: pages appended in one write to a recycled file whose blocks have been written before, then
// fdatasync. Nothing can be read back by page number.
#include "peer.h"

#include <fcntl.h>
#include <unistd.h>

#define LOG_BYTES ((off_t)64 << 20)

static int fd;
static off_t tail;

static void prepare(void *context, const char *dir, uint32_t pages) {
    (void)context;
    (void)pages;
    char *path = peer_path(dir, "log");
    fd = peer_filled_file(path, LOG_BYTES, 0);
    int direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    if (direct >= 0) {
        close(fd);
        fd = direct;
    }
}

static void commit(void *context, const uint32_t *page, const uint8_t *content, size_t count) {
    (void)context;
    (void)page;
    size_t length = count * PEER_PAGE_BYTES;
    if (tail + (off_t)length > LOG_BYTES) tail = 0;
    if (pwrite(fd, content, length, tail) != (ssize_t)length) peer_fail("pwrite", 0);
    tail += (off_t)length;
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
