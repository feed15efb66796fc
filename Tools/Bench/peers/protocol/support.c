#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void peer_fail(const char *what, int code) {
    peer_fail_message(what, strerror(code ? code : errno));
}

void peer_fail_message(const char *what, const char *message) {
    fprintf(stderr, "%s: %s\n", what, message);
    _exit(1);
}

char *peer_path(const char *dir, const char *name) {
    size_t length = strlen(dir) + 1 + strlen(name) + 1;
    char *path = malloc(length);
    if (!path) peer_fail("malloc", 0);
    snprintf(path, length, "%s/%s", dir, name);
    return path;
}

uint8_t *peer_buffer(size_t length) {
    void *buffer;
    int code = posix_memalign(&buffer, PEER_PAGE_BYTES, length);
    if (code) peer_fail("posix_memalign", code);
    return buffer;
}

int peer_filled_file(const char *path, uint64_t length, int flags) {
    const size_t step = 1 << 20;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | flags, 0600);
    if (fd < 0) peer_fail(path, 0);
    uint8_t *buffer = peer_buffer(step);
    for (uint64_t at = 0; at < length;) {
        size_t part = length - at < step ? (size_t)(length - at) : step;
        peer_fill(buffer, part);
        ssize_t written = pwrite(fd, buffer, part, (off_t)at);
        if (written <= 0) peer_fail(path, 0);
        at += (uint64_t)written;
    }
    free(buffer);
    if (fsync(fd)) peer_fail(path, 0);
    return fd;
}
