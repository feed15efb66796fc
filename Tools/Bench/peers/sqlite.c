// SQLite with a write-ahead log and synchronous=FULL: a page a row, a transaction a commit, the whole
// database in its page cache, checkpoints where SQLite makes them (every 1,000 pages of log).
#include "peer.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static sqlite3 *database;
static sqlite3_stmt *begin, *update, *end;

static void check(const char *what, int code, int expected) {
    if (code != expected) peer_fail_message(what, database ? sqlite3_errmsg(database) : sqlite3_errstr(code));
}

static void execute(const char *sql) {
    check(sql, sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
}

static sqlite3_stmt *prepared(const char *sql) {
    sqlite3_stmt *statement;
    check(sql, sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), SQLITE_OK);
    return statement;
}

static void step(sqlite3_stmt *statement) {
    check(sqlite3_sql(statement), sqlite3_step(statement), SQLITE_DONE);
    check(sqlite3_sql(statement), sqlite3_reset(statement), SQLITE_OK);
}

/// `statement` takes the content as its first parameter and the page number as its second.
static void put(sqlite3_stmt *statement, uint32_t page, const uint8_t *content) {
    check("sqlite3_bind_blob", sqlite3_bind_blob(statement, 1, content, PEER_PAGE_BYTES, SQLITE_STATIC), SQLITE_OK);
    check("sqlite3_bind_int64", sqlite3_bind_int64(statement, 2, page), SQLITE_OK);
    step(statement);
}

static void prepare(void *context, const char *dir, uint32_t pages) {
    (void)context;
    char cache_size[64];
    uint8_t *content = peer_buffer(PEER_PAGE_BYTES);
    char *path = peer_path(dir, "object.sqlite");
    check(path, sqlite3_open(path, &database), SQLITE_OK);
    snprintf(cache_size, sizeof cache_size, "PRAGMA cache_size = %u", pages * 3);
    execute(cache_size);
    execute("PRAGMA journal_mode = WAL");
    execute("PRAGMA synchronous = FULL");
    execute("CREATE TABLE page (number INTEGER PRIMARY KEY, content BLOB NOT NULL)");

    sqlite3_stmt *insert = prepared("INSERT INTO page (content, number) VALUES (?1, ?2)");
    execute("BEGIN");
    for (uint32_t page = 0; page < pages; page++) {
        peer_fill(content, PEER_PAGE_BYTES);
        put(insert, page, content);
    }
    execute("COMMIT");
    execute("PRAGMA wal_checkpoint(TRUNCATE)");
    sqlite3_finalize(insert);
    free(content);
    free(path);

    begin = prepared("BEGIN IMMEDIATE");
    update = prepared("UPDATE page SET content = ?1 WHERE number = ?2");
    end = prepared("COMMIT");
}

static void commit(void *context, const uint32_t *page, const uint8_t *content, size_t count) {
    (void)context;
    step(begin);
    for (size_t i = 0; i < count; i++) put(update, page[i], content + i * PEER_PAGE_BYTES);
    step(end);
}

static void finish(void *context) {
    (void)context;
    sqlite3_finalize(begin);
    sqlite3_finalize(update);
    sqlite3_finalize(end);
    sqlite3_close(database);
}

int main(int argc, char **argv) {
    const struct peer_engine engine = {NULL, prepare, commit, finish};
    return peer_main_arguments(&engine, argc, argv);
}
