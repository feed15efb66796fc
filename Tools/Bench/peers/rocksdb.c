// RocksDB with its default options: a page a value, a synced WriteBatch a commit.
#include "peer.h"

#include <rocksdb/c.h>
#include <stdlib.h>

#define PAGES_PER_LOAD 256

static rocksdb_t *database;
static rocksdb_writeoptions_t *synced;
static rocksdb_writebatch_t *batch;

static void check(const char *what, char *message) {
    if (message) peer_fail_message(what, message);
}

static void put(uint32_t page, const uint8_t *content) {
    const char key[4] = {(char)(page >> 24), (char)(page >> 16), (char)(page >> 8), (char)page};
    rocksdb_writebatch_put(batch, key, sizeof key, (const char *)content, PEER_PAGE_BYTES);
}

static void write_batch(const rocksdb_writeoptions_t *options) {
    char *message = NULL;
    rocksdb_write(database, options, batch, &message);
    check("rocksdb_write", message);
    rocksdb_writebatch_clear(batch);
}

static void load(uint32_t pages) {
    uint8_t *content = peer_buffer(PEER_PAGE_BYTES);
    rocksdb_writeoptions_t *unlogged = rocksdb_writeoptions_create();
    rocksdb_writeoptions_disable_WAL(unlogged, 1);
    for (uint32_t page = 0; page < pages;) {
        for (uint32_t i = 0; i < PAGES_PER_LOAD && page < pages; i++, page++) {
            peer_fill(content, PEER_PAGE_BYTES);
            put(page, content);
        }
        write_batch(unlogged);
    }
    rocksdb_writeoptions_destroy(unlogged);
    free(content);

    char *message = NULL;
    rocksdb_flushoptions_t *waiting = rocksdb_flushoptions_create();
    rocksdb_flush(database, waiting, &message);
    check("rocksdb_flush", message);
    rocksdb_flushoptions_destroy(waiting);
    rocksdb_compact_range(database, NULL, 0, NULL, 0);
}

static void prepare(void *context, const char *dir, uint32_t pages) {
    (void)context;
    char *message = NULL;
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    database = rocksdb_open(options, dir, &message);
    check("rocksdb_open", message);
    rocksdb_options_destroy(options);
    batch = rocksdb_writebatch_create();
    synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(synced, 1);
    load(pages);
}

static void commit(void *context, const uint32_t *page, const uint8_t *content, size_t count) {
    (void)context;
    for (size_t i = 0; i < count; i++) put(page[i], content + i * PEER_PAGE_BYTES);
    write_batch(synced);
}

static void finish(void *context) {
    (void)context;
    rocksdb_writebatch_destroy(batch);
    rocksdb_writeoptions_destroy(synced);
    rocksdb_close(database);
}

int main(int argc, char **argv) {
    const struct peer_engine engine = {NULL, prepare, commit, finish};
    return peer_main_arguments(&engine, argc, argv);
}
