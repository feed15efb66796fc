#define _GNU_SOURCE
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WHOLE, NAIVE, NOSYNC, NOMETASYNC };

static const char *problem_of(const char *call, int code) { return refusal("%s: %s", call, mdb_strerror(code)); }

static const char *open_at(const char *path, int variant, void **store) {
    MDB_env *env;
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (variant == NOSYNC ? MDB_NOSYNC : variant == NOMETASYNC ? MDB_NOMETASYNC : 0);
    int code = mdb_env_create(&env);
    if (code) return problem_of("mdb_env_create", code);
    mdb_env_set_mapsize(env, 64 << 20);
    if ((code = mdb_env_open(env, path, flags, 0600))) {
        mdb_env_close(env);
        return problem_of("mdb_env_open", code);
    }
    *store = env;
    return NULL;
}

static const char *open_env(const char *folder, int variant, void **store) {
    char path[4096];
    snprintf(path, sizeof path, "%s/store", folder);
    return open_at(path, variant, store);
}

static const char *synced_folder(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    if (fd < 0 || fsync(fd)) return failure("%s: %s", path, strerror(errno));
    close(fd);
    return NULL;
}

/// An environment is made by its first commit.
static const char *create_at(const char *path, int variant) {
    void *store;
    MDB_txn *txn;
    MDB_dbi dbi;
    if (mkdir(path, 0700)) return failure("%s: %s", path, strerror(errno));
    const char *problem = open_at(path, variant, &store);
    if (problem) return problem;
    int code = mdb_txn_begin(store, NULL, 0, &txn);
    if (!code) code = mdb_dbi_open(txn, NULL, 0, &dbi);
    if (!code) code = mdb_put(txn, dbi, &(MDB_val){5, "first"}, &(MDB_val){5, "value"}, 0);
    if (!code) code = mdb_txn_commit(txn);
    if (!code && variant == WHOLE) code = mdb_env_sync(store, 1);
    mdb_env_close(store);
    return code ? problem_of("the first commit", code) : NULL;
}

static const char *create(const char *folder, int variant) {
    char path[4096], making[4096];
    snprintf(path, sizeof path, "%s/store", folder);
    // NOSYNC and NOMETASYNC are to show what they lose, not what their creation does.
    if (variant == NAIVE) return create_at(path, variant);
    snprintf(making, sizeof making, "%s/making", folder);
    const char *problem = create_at(making, WHOLE);
    if (!problem) problem = synced_folder(making);
    if (!problem && rename(making, path)) problem = failure("rename: %s", strerror(errno));
    return problem ? problem : synced_folder(folder);
}

static const char *commit(void *store, const struct model *model, uint64_t seed, const unsigned char changed[KEYS]) {
    unsigned char bytes[LARGEST_VALUE];
    MDB_txn *txn;
    MDB_dbi dbi;
    int code = mdb_txn_begin(store, NULL, 0, &txn);
    if (code) return problem_of("mdb_txn_begin", code);
    if ((code = mdb_dbi_open(txn, NULL, 0, &dbi))) return problem_of("mdb_dbi_open", code);
    for (int i = 0; i < KEYS; i++) {
        if (!changed[i]) continue;
        MDB_val key = {sizeof i, &i}, value;
        if (!model->writer[i]) {
            code = mdb_del(txn, dbi, &key, NULL);
            if (code && code != MDB_NOTFOUND) return problem_of("mdb_del", code);
            continue;
        }
        value.mv_size = model_value(seed, i, model->writer[i], bytes);
        value.mv_data = bytes;
        if ((code = mdb_put(txn, dbi, &key, &value, 0))) return problem_of("mdb_put", code);
    }
    code = mdb_txn_commit(txn);
    return code ? problem_of("mdb_txn_commit", code) : NULL;
}

static const char *read_all(void *store, uint64_t seed, uint64_t writer[KEYS]) {
    unsigned char bytes[LARGEST_VALUE];
    MDB_txn *txn;
    MDB_dbi dbi;
    const char *problem = NULL;
    memset(writer, 0, KEYS * sizeof *writer);
    int code = mdb_txn_begin(store, NULL, MDB_RDONLY, &txn);
    if (code) return problem_of("mdb_txn_begin", code);
    if ((code = mdb_dbi_open(txn, NULL, 0, &dbi))) problem = problem_of("mdb_dbi_open", code);
    for (int i = 0; i < KEYS && !problem; i++) {
        MDB_val key = {sizeof i, &i}, value;
        code = mdb_get(txn, dbi, &key, &value);
        if (code == MDB_NOTFOUND) continue;
        if (code) problem = problem_of("mdb_get", code);
        else if (value.mv_size < 16) problem = failure("key %d has %zu bytes", i, value.mv_size);
        else {
            memcpy(&writer[i], value.mv_data, 8);
            if (value.mv_size != model_value(seed, i, writer[i], bytes) || memcmp(bytes, value.mv_data, value.mv_size) != 0)
                problem = failure("key %d holds what nobody wrote", i);
        }
    }
    mdb_txn_abort(txn);
    return problem;
}

static void close_env(void *store) { mdb_env_close(store); }

#define KIND(name, variant) {name, variant, create, open_env, commit, read_all, close_env, "store"}
const struct kind lmdb_kinds[] = {
    KIND("lmdb", WHOLE), KIND("lmdb-naive", NAIVE), KIND("lmdb-nosync", NOSYNC), KIND("lmdb-nometasync", NOMETASYNC), {0},
};
