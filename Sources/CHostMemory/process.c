#define _GNU_SOURCE
#include "CHostMemory.h"

#include <errno.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGEMAP_SCAN_CALL _IOWR('f', 16, struct hm_scan)

long hm_pagemap_scan(int fd, struct hm_scan *scan) {
    scan->size = sizeof *scan;
    long count = ioctl(fd, PAGEMAP_SCAN_CALL, scan);
    return count < 0 ? -errno : count;
}

int hm_empty_memory(void) {
    int fd = memfd_create("beyond-end", MFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int uffd = -1;
static int pagemap = -1;
static int forked;

static void in_child(void) {
    if (uffd >= 0) close(uffd);
    if (pagemap >= 0) close(pagemap);
    uffd = pagemap = -1;
    forked = 1;
}

int hm_uffd(void) { return uffd; }
int hm_pagemap(void) { return pagemap; }
int hm_is_forked_child(void) { return forked; }

int hm_keep_descriptors(int new_uffd, int new_pagemap) {
    uffd = new_uffd;
    pagemap = new_pagemap;
    return -pthread_atfork(NULL, NULL, in_child);
}
