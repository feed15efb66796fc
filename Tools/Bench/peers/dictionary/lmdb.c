// LMDB in its default, fully synced mode, integer keys.
#include "peer.h"

#include <lmdb.h>

static MDB_env *env;
static MDB_dbi dbi;
static MDB_txn *txn;

static void check(const char *what, int code) {
    if (code) peer_fail_message(what, mdb_strerror(code));
}

static void dictionary_begin(void) { check("mdb_txn_begin", mdb_txn_begin(env, NULL, 0, &txn)); }

static void dictionary_commit(void) { check("mdb_txn_commit", mdb_txn_commit(txn)); }

static void dictionary_prepare(const char *dir) {
    check("mdb_env_create", mdb_env_create(&env));
    check("mdb_env_set_mapsize", mdb_env_set_mapsize(env, (size_t)4 << 30));
    check("mdb_env_open", mdb_env_open(env, dir, 0, 0600));
    dictionary_begin();
    check("mdb_dbi_open", mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi));
    dictionary_commit();
}

static void dictionary_put(uint64_t key, uint64_t value) {
    MDB_val k = {sizeof key, &key}, v = {sizeof value, &value};
    check("mdb_put", mdb_put(txn, dbi, &k, &v, 0));
}

static void dictionary_begin_reading(void) { check("mdb_txn_begin", mdb_txn_begin(env, NULL, MDB_RDONLY, &txn)); }

static void dictionary_end_reading(void) { mdb_txn_abort(txn); }

static int dictionary_get(uint64_t key, uint64_t *value) {
    MDB_val k = {sizeof key, &key}, v;
    int code = mdb_get(txn, dbi, &k, &v);
    if (code == MDB_NOTFOUND) return 0;
    check("mdb_get", code);
    __builtin_memcpy(value, v.mv_data, sizeof *value);
    return 1;
}

#include "dictionary.h"
