#define _GNU_SOURCE
#include "model.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { PERSIST, DELETE, WAL, OFF };

static const char *problem_of(sqlite3 *db, const char *call) { return refusal("%s: %s", call, sqlite3_errmsg(db)); }

static const char *open_database(const char *folder, int variant, void **store) {
    char path[4096];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/store.sqlite", folder);
    int code = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    const char *settings = variant == WAL ? "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL"
                             : variant == OFF ? "PRAGMA journal_mode=PERSIST; PRAGMA synchronous=OFF"
                           : variant == DELETE ? "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL"
                                               : "PRAGMA journal_mode=PERSIST; PRAGMA synchronous=FULL";
    if (!code) code = sqlite3_exec(db, settings, NULL, NULL, NULL);
    if (!code) code = sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS v(k INTEGER PRIMARY KEY, b BLOB)", NULL, NULL, NULL);
    if (code) {
        const char *problem = problem_of(db, "opening");
        sqlite3_close(db);
        return problem;
    }
    *store = db;
    return NULL;
}

static const char *create(const char *folder, int variant) {
    void *db;
    const char *problem = open_database(folder, variant, &db);
    if (!problem) sqlite3_close(db);
    return problem;
}

static const char *commit(void *store, const struct model *model, uint64_t seed, const unsigned char changed[KEYS]) {
    unsigned char bytes[LARGEST_VALUE];
    sqlite3_stmt *put, *drop;
    int code = sqlite3_exec(store, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (!code) code = sqlite3_prepare_v2(store, "INSERT OR REPLACE INTO v VALUES(?, ?)", -1, &put, NULL);
    if (!code) code = sqlite3_prepare_v2(store, "DELETE FROM v WHERE k = ?", -1, &drop, NULL);
    if (code) return problem_of(store, "BEGIN");
    for (int i = 0; i < KEYS; i++) {
        if (!changed[i]) continue;
        sqlite3_stmt *statement = model->writer[i] ? put : drop;
        sqlite3_bind_int(statement, 1, i);
        if (model->writer[i])
            sqlite3_bind_blob(statement, 2, bytes, (int)model_value(seed, i, model->writer[i], bytes), SQLITE_TRANSIENT);
        if (sqlite3_step(statement) != SQLITE_DONE) return problem_of(store, "a change");
        sqlite3_reset(statement);
    }
    sqlite3_finalize(put);
    sqlite3_finalize(drop);
    return sqlite3_exec(store, "COMMIT", NULL, NULL, NULL) ? problem_of(store, "COMMIT") : NULL;
}

static const char *read_all(void *store, uint64_t seed, uint64_t writer[KEYS]) {
    unsigned char bytes[LARGEST_VALUE];
    sqlite3_stmt *all;
    const char *problem = NULL;
    int code;
    memset(writer, 0, KEYS * sizeof *writer);
    if (sqlite3_prepare_v2(store, "SELECT k, b FROM v", -1, &all, NULL)) return problem_of(store, "SELECT");
    while (!problem && (code = sqlite3_step(all)) == SQLITE_ROW) {
        int key = sqlite3_column_int(all, 0), length = sqlite3_column_bytes(all, 1);
        const void *value = sqlite3_column_blob(all, 1);
        if (key < 0 || key >= KEYS || length < 16) {
            problem = failure("a row of key %d with %d bytes", key, length);
            break;
        }
        memcpy(&writer[key], value, 8);
        if ((size_t)length != model_value(seed, key, writer[key], bytes) || memcmp(bytes, value, (size_t)length) != 0)
            problem = failure("key %d holds what nobody wrote", key);
    }
    if (!problem && code != SQLITE_DONE) problem = problem_of(store, "SELECT");
    sqlite3_finalize(all);
    if (problem) return problem;
    if (sqlite3_prepare_v2(store, "PRAGMA integrity_check", -1, &all, NULL)) return problem_of(store, "integrity_check");
    if (sqlite3_step(all) != SQLITE_ROW) problem = problem_of(store, "integrity_check");
    else if (strcmp((const char *)sqlite3_column_text(all, 0), "ok") != 0) problem = refusal("%s", sqlite3_column_text(all, 0));
    sqlite3_finalize(all);
    return problem;
}

static void close_database(void *store) { sqlite3_close(store); }

#define KIND(name, variant) {name, variant, create, open_database, commit, read_all, close_database, "store.sqlite"}
const struct kind sqlite_kinds[] = {KIND("sqlite", PERSIST), KIND("sqlite-delete", DELETE), KIND("sqlite-wal", WAL), KIND("sqlite-off", OFF), {0}};
