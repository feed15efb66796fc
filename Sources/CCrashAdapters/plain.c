#define _GNU_SOURCE
#include "model.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// A file that is written anew in its place, with no checksum; what calls return is not looked at. Every layer finds
// something in it: that is what it is for.

struct entry {
    uint32_t key, length;
};

// What the large one has in front: a file system that is full may have room for a few blocks.
#define PADDING (256 << 10)

static const char *open_file(const char *folder, int variant, void **store) {
    char *path;
    if (asprintf(&path, "%s/store.%s", folder, variant ? "large" : "plain") < 0) return failure("no memory");
    *store = path;
    return NULL;
}

static const char *create(const char *folder, int variant) {
    void *store;
    const char *problem = open_file(folder, variant, &store);
    if (problem) return problem;
    int fd = open(store, O_WRONLY | O_CREAT, 0600);
    free(store);
    return fd < 0 ? failure("the file can't be made") : close(fd) ? failure("the file can't be closed") : NULL;
}

static int is_large(const char *path) { return strcmp(path + strlen(path) - 5, "large") == 0; }

static void write_whole(int fd, const void *bytes, size_t count) {
    if (write(fd, bytes, count) != (ssize_t)count) return;
}

static const char *commit(void *store, const struct model *model, uint64_t seed, const unsigned char changed[KEYS]) {
    (void)changed;
    unsigned char bytes[LARGEST_VALUE];
    int fd = open(store, O_WRONLY | O_TRUNC);
    static const unsigned char padding[PADDING];
    if (is_large(store)) write_whole(fd, padding, sizeof padding);
    for (uint32_t i = 0; i < KEYS; i++) {
        if (!model->writer[i]) continue;
        struct entry entry = {i, (uint32_t)model_value(seed, (int)i, model->writer[i], bytes)};
        write_whole(fd, &entry, sizeof entry);
        write_whole(fd, bytes, entry.length);
    }
    fsync(fd);
    close(fd);
    return NULL;
}

static const char *read_all(void *store, uint64_t seed, uint64_t writer[KEYS]) {
    unsigned char bytes[LARGEST_VALUE], wanted[LARGEST_VALUE];
    struct entry entry;
    const char *problem = NULL;
    memset(writer, 0, KEYS * sizeof *writer);
    int fd = open(store, O_RDONLY);
    if (fd < 0) return failure("the file can't be opened");
    if (is_large(store)) lseek(fd, PADDING, SEEK_SET);
    while (!problem && read(fd, &entry, sizeof entry) == sizeof entry) {
        if (entry.key >= KEYS || entry.length < 16 || entry.length > sizeof bytes || read(fd, bytes, entry.length) != (ssize_t)entry.length) {
            problem = failure("an entry is cut short");
            break;
        }
        memcpy(&writer[entry.key], bytes, 8);
        if (model_value(seed, (int)entry.key, writer[entry.key], wanted) != entry.length || memcmp(bytes, wanted, entry.length) != 0)
            problem = failure("key %u holds what nobody wrote", entry.key);
    }
    close(fd);
    return problem;
}

static void close_file(void *store) { free(store); }

const struct kind plain_kinds[] = {{"plain-file", 0, create, open_file, commit, read_all, close_file, "store.plain"},
                                    {"plain-file-large", 1, create, open_file, commit, read_all, close_file, "store.large"},
                                    {0}};
