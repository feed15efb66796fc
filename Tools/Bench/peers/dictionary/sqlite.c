// SQLite with a write-ahead log and synchronous=FULL, the key as the row's number, all of it in its page cache.
#include "peer.h"

#include <sqlite3.h>
#include <stdlib.h>

static sqlite3 *database;
static sqlite3_stmt *begin, *put, *get, *commit;

static void check(const char *what, int code, int expected) {
    if (code != expected) peer_fail_message(what, database ? sqlite3_errmsg(database) : sqlite3_errstr(code));
}

static void execute(const char *sql) { check(sql, sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK); }

static sqlite3_stmt *prepared(const char *sql) {
    sqlite3_stmt *statement;
    check(sql, sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), SQLITE_OK);
    return statement;
}

static void step(sqlite3_stmt *statement) {
    check(sqlite3_sql(statement), sqlite3_step(statement), SQLITE_DONE);
    check(sqlite3_sql(statement), sqlite3_reset(statement), SQLITE_OK);
}

static void dictionary_prepare(const char *dir) {
    char *path = peer_path(dir, "dictionary.sqlite");
    check(path, sqlite3_open(path, &database), SQLITE_OK);
    free(path);
    execute("PRAGMA cache_size = 100000");
    execute("PRAGMA journal_mode = WAL");
    execute("PRAGMA synchronous = FULL");
    execute("CREATE TABLE entry (key INTEGER PRIMARY KEY, value INTEGER NOT NULL)");
    begin = prepared("BEGIN IMMEDIATE");
    put = prepared("INSERT INTO entry (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value");
    get = prepared("SELECT value FROM entry WHERE key = ?1");
    commit = prepared("COMMIT");
}

static void dictionary_begin(void) { step(begin); }

static void dictionary_commit(void) { step(commit); }

static void dictionary_put(uint64_t key, uint64_t value) {
    check("bind", sqlite3_bind_int64(put, 1, (sqlite3_int64)key), SQLITE_OK);
    check("bind", sqlite3_bind_int64(put, 2, (sqlite3_int64)value), SQLITE_OK);
    step(put);
}

static void dictionary_begin_reading(void) { execute("BEGIN"); }

static void dictionary_end_reading(void) { step(commit); }

static int dictionary_get(uint64_t key, uint64_t *value) {
    check("bind", sqlite3_bind_int64(get, 1, (sqlite3_int64)key), SQLITE_OK);
    int code = sqlite3_step(get);
    if (code == SQLITE_ROW) *value = (uint64_t)sqlite3_column_int64(get, 0);
    else check("step", code, SQLITE_DONE);
    sqlite3_reset(get);
    return code == SQLITE_ROW;
}

#include "dictionary.h"
