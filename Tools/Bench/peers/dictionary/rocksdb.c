// RocksDB with its default options, a synced WriteBatch a transaction.
#include "peer.h"

#include <rocksdb/c.h>

static rocksdb_t *database;
static rocksdb_writeoptions_t *synced;
static rocksdb_readoptions_t *reading;
static rocksdb_writebatch_t *batch;

static void check(const char *what, char *message) {
    if (message) peer_fail_message(what, message);
}

static void dictionary_prepare(const char *dir) {
    char *message = NULL;
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    database = rocksdb_open(options, dir, &message);
    check("rocksdb_open", message);
    rocksdb_options_destroy(options);
    batch = rocksdb_writebatch_create();
    reading = rocksdb_readoptions_create();
    synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(synced, 1);
}

static void dictionary_begin(void) { rocksdb_writebatch_clear(batch); }

static void dictionary_put(uint64_t key, uint64_t value) {
    rocksdb_writebatch_put(batch, (const char *)&key, sizeof key, (const char *)&value, sizeof value);
}

static void dictionary_commit(void) {
    char *message = NULL;
    rocksdb_write(database, synced, batch, &message);
    check("rocksdb_write", message);
}

static void dictionary_begin_reading(void) {}

static void dictionary_end_reading(void) {}

static int dictionary_get(uint64_t key, uint64_t *value) {
    char *message = NULL;
    rocksdb_pinnableslice_t *found = rocksdb_get_pinned(database, reading, (const char *)&key, sizeof key, &message);
    check("rocksdb_get", message);
    if (!found) return 0;
    size_t length;
    const char *bytes = rocksdb_pinnableslice_value(found, &length);
    __builtin_memcpy(value, bytes, sizeof *value);
    rocksdb_pinnableslice_destroy(found);
    return 1;
}

#include "dictionary.h"
