// LMDB in its default, fully synced mode: a page a value, a transaction a commit.
#include "peer.h"

#include <lmdb.h>
#include <stdlib.h>

#define PAGES_PER_LOAD 4096

static MDB_env *env;
static MDB_dbi dbi;

static void check(const char *what, int code) {
    if (code) peer_fail_message(what, mdb_strerror(code));
}

static void put(MDB_txn *txn, uint32_t page, const uint8_t *content, unsigned flags) {
    MDB_val key = {sizeof page, &page};
    MDB_val value = {PEER_PAGE_BYTES, (void *)content};
    check("mdb_put", mdb_put(txn, dbi, &key, &value, flags));
}

static void prepare(void *context, const char *dir, uint32_t pages) {
    (void)context;
    uint8_t *content = peer_buffer(PEER_PAGE_BYTES);
    check("mdb_env_create", mdb_env_create(&env));
    check("mdb_env_set_mapsize", mdb_env_set_mapsize(env, ((size_t)pages * PEER_PAGE_BYTES) * 4 + ((size_t)1 << 30)));
    check("mdb_env_open", mdb_env_open(env, dir, 0, 0600));
    for (uint32_t page = 0; page < pages;) {
        MDB_txn *txn;
        check("mdb_txn_begin", mdb_txn_begin(env, NULL, 0, &txn));
        check("mdb_dbi_open", mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi));
        for (uint32_t i = 0; i < PAGES_PER_LOAD && page < pages; i++, page++) {
            peer_fill(content, PEER_PAGE_BYTES);
            put(txn, page, content, MDB_APPEND);
        }
        check("mdb_txn_commit", mdb_txn_commit(txn));
    }
    free(content);
}

static void commit(void *context, const uint32_t *page, const uint8_t *content, size_t count) {
    (void)context;
    MDB_txn *txn;
    check("mdb_txn_begin", mdb_txn_begin(env, NULL, 0, &txn));
    for (size_t i = 0; i < count; i++) put(txn, page[i], content + i * PEER_PAGE_BYTES, 0);
    check("mdb_txn_commit", mdb_txn_commit(txn));
}

static void finish(void *context) {
    (void)context;
    mdb_env_close(env);
}

int main(int argc, char **argv) {
    const struct peer_engine engine = {NULL, prepare, commit, finish};
    return peer_main_arguments(&engine, argc, argv);
}
