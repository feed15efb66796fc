#include "ccatalog.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* The part of the header that SQLite reads by itself, before it knows the page's size. */
enum { HEADER = 100, RESERVED_AT = 20, FORMAT_AT = 60 };

/* A file of ours; SQLite's own follows it in the same memory. */
struct file {
    sqlite3_file base;
    bool checked;
};

static sqlite3_vfs *system_vfs;
static sqlite3_vfs layer;
static __thread uint32_t last_damaged;

static sqlite3_file *real(sqlite3_file *file) { return (sqlite3_file *)((struct file *)file + 1); }

static uint64_t sum_of(const unsigned char *page, uint64_t number) {
    return XXH3_64bits_withSeed(page, CC_PAGE - CC_RESERVED, number);
}

static bool is_sound(const unsigned char *page, uint64_t number) {
    uint64_t sum = sum_of(page, number);
    for (int i = 0; i < CC_RESERVED; i++) {
        if (page[CC_PAGE - CC_RESERVED + i] == (unsigned char)(sum >> 8 * i)) continue;
        for (int at = 0; at < CC_PAGE; at++) {
            if (page[at] != 0) return false;
        }
        return true;
    }
    return true;
}

static bool is_page(int length, sqlite3_int64 offset) { return length == CC_PAGE && offset % CC_PAGE == 0; }

static int damaged(sqlite3_int64 offset) {
    last_damaged = (uint32_t)(offset / CC_PAGE + 1);
    return SQLITE_IOERR_DATA;
}

/* Files */

static int file_close(sqlite3_file *file) { return real(file)->pMethods->xClose(real(file)); }

/* A part of a page: some versions of SQLite read those that hold the rest of a long value so. */
static int read_part(sqlite3_file *file, void *bytes, int length, sqlite3_int64 offset) {
    sqlite3_int64 start = offset / CC_PAGE * CC_PAGE;
    /* A damaged header may say another size of pages. */
    if (offset + length > start + CC_PAGE - CC_RESERVED || start == 0) return damaged(offset);
    unsigned char page[CC_PAGE];
    int code = real(file)->pMethods->xRead(real(file), page, CC_PAGE, start);
    if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ) return code;
    if (code != SQLITE_OK || !is_sound(page, (uint64_t)(start / CC_PAGE + 1))) return damaged(offset);
    memcpy(bytes, page + (offset - start), (size_t)length);
    return SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *bytes, int length, sqlite3_int64 offset) {
    int code = real(file)->pMethods->xRead(real(file), bytes, length, offset);
    if (!((struct file *)file)->checked) return code;
    if (code == SQLITE_IOERR_SHORT_READ) {
        /* SQLite takes what is missing for zeros: beyond the end it is none of a page, before the end a page was cut. */
        sqlite3_int64 size;
        int failed = real(file)->pMethods->xFileSize(real(file), &size);
        return failed != SQLITE_OK ? failed : offset < size && offset + length > HEADER ? damaged(offset) : code;
    }
    if (code != SQLITE_OK || offset + length <= HEADER) return code;
    if (is_page(length, offset)) return is_sound(bytes, (uint64_t)(offset / CC_PAGE + 1)) ? SQLITE_OK : damaged(offset);
    return read_part(file, bytes, length, offset);
}

static int file_write(sqlite3_file *file, const void *bytes, int length, sqlite3_int64 offset) {
    if (!((struct file *)file)->checked) return real(file)->pMethods->xWrite(real(file), bytes, length, offset);
    if (!is_page(length, offset)) return SQLITE_IOERR_WRITE;
    /* The page is SQLite's, and other threads may read it: the checksum goes into a copy. */
    unsigned char page[CC_PAGE];
    memcpy(page, bytes, CC_PAGE - CC_RESERVED);
    uint64_t sum = sum_of(page, (uint64_t)(offset / CC_PAGE + 1));
    for (int i = 0; i < CC_RESERVED; i++) page[CC_PAGE - CC_RESERVED + i] = (unsigned char)(sum >> 8 * i);
    return real(file)->pMethods->xWrite(real(file), page, CC_PAGE, offset);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) { return real(file)->pMethods->xTruncate(real(file), size); }
static int file_sync(sqlite3_file *file, int flags) { return real(file)->pMethods->xSync(real(file), flags); }
static int file_size(sqlite3_file *file, sqlite3_int64 *size) { return real(file)->pMethods->xFileSize(real(file), size); }
static int file_lock(sqlite3_file *file, int lock) { return real(file)->pMethods->xLock(real(file), lock); }
static int file_unlock(sqlite3_file *file, int lock) { return real(file)->pMethods->xUnlock(real(file), lock); }
static int file_reserved(sqlite3_file *file, int *taken) { return real(file)->pMethods->xCheckReservedLock(real(file), taken); }
static int file_control(sqlite3_file *file, int what, void *argument) {
    return real(file)->pMethods->xFileControl(real(file), what, argument);
}
static int file_sector(sqlite3_file *file) { return real(file)->pMethods->xSectorSize(real(file)); }

static int file_characteristics(sqlite3_file *file) {
    int found = real(file)->pMethods->xDeviceCharacteristics(real(file));
    /* SQLITE_IOCAP_SUBPAGE_READ, which the headers of this build may not have: a part of a page costs the whole. */
    return found & ~0x8000;
}

/* The first version: no shared memory (the catalog has no write-ahead log) and no mapped files. */
static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_characteristics,
};

/* The layer */

static int find_checked(struct file *file) {
    unsigned char header[HEADER];
    sqlite3_file *below = real(&file->base);
    int code = below->pMethods->xRead(below, header, HEADER, 0);
    if (code == SQLITE_IOERR_SHORT_READ) {
        /* New, or too short to be anything. */
        file->checked = true;
        return SQLITE_OK;
    }
    unsigned format = (unsigned)header[FORMAT_AT] << 24 | header[FORMAT_AT + 1] << 16 | header[FORMAT_AT + 2] << 8 | header[FORMAT_AT + 3];
    file->checked = header[RESERVED_AT] == CC_RESERVED || format >= 2;
    return code;
}

static int layer_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *given) {
    (void)vfs;
    if (!(flags & SQLITE_OPEN_MAIN_DB)) return system_vfs->xOpen(system_vfs, name, file, flags, given);
    sqlite3_file *below = real(file);
    memset(file, 0, sizeof(struct file));
    int code = system_vfs->xOpen(system_vfs, name, below, flags, given);
    if (below->pMethods == NULL) return code;
    /* From here on SQLite closes the file, also where this fails. */
    file->pMethods = &methods;
    return code != SQLITE_OK ? code : find_checked((struct file *)file);
}

static int layer_delete(sqlite3_vfs *vfs, const char *name, int sync) {
    (void)vfs;
    return system_vfs->xDelete(system_vfs, name, sync);
}
static int layer_access(sqlite3_vfs *vfs, const char *name, int flags, int *result) {
    (void)vfs;
    return system_vfs->xAccess(system_vfs, name, flags, result);
}
static int layer_path(sqlite3_vfs *vfs, const char *name, int room, char *out) {
    (void)vfs;
    return system_vfs->xFullPathname(system_vfs, name, room, out);
}
static int layer_random(sqlite3_vfs *vfs, int room, char *out) {
    (void)vfs;
    return system_vfs->xRandomness(system_vfs, room, out);
}
static int layer_sleep(sqlite3_vfs *vfs, int microseconds) {
    (void)vfs;
    return system_vfs->xSleep(system_vfs, microseconds);
}
static int layer_time(sqlite3_vfs *vfs, double *days) {
    (void)vfs;
    return system_vfs->xCurrentTime(system_vfs, days);
}
static int layer_error(sqlite3_vfs *vfs, int room, char *out) {
    (void)vfs;
    return system_vfs->xGetLastError(system_vfs, room, out);
}

static sqlite3_vfs layer = {
    .iVersion = 1,
    .xOpen = layer_open,
    .xDelete = layer_delete,
    .xAccess = layer_access,
    .xFullPathname = layer_path,
    .xRandomness = layer_random,
    .xSleep = layer_sleep,
    .xCurrentTime = layer_time,
    .xGetLastError = layer_error,
};

static bool is_registered;
/* Another copy of this library in the process has a layer of its own. */
static char layer_name[40];

static void add_layer(void) {
    /* The layer is asked for by a URI. Too late where SQLite is in use already; Debian's takes them in any case. */
    if (sqlite3_config(SQLITE_CONFIG_URI, 1) != SQLITE_OK && !sqlite3_compileoption_used("USE_URI")) return;
    system_vfs = sqlite3_vfs_find(NULL);
    if (system_vfs == NULL) return;
    snprintf(layer_name, sizeof layer_name, "varve-catalog-%lx", (unsigned long)&layer);
    layer.zName = layer_name;
    layer.szOsFile = (int)sizeof(struct file) + system_vfs->szOsFile;
    layer.mxPathname = system_vfs->mxPathname;
    is_registered = sqlite3_vfs_register(&layer, 0) == SQLITE_OK;
}

const char *cc_layer(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, add_layer);
    return is_registered ? layer.zName : NULL;
}

/* Connections */

int cc_reserve(void *connection) {
    int bytes = CC_RESERVED;
    return sqlite3_file_control(connection, "main", SQLITE_FCNTL_RESERVE_BYTES, &bytes);
}

/* The connection's file, where the layer opened it. */
static struct file *file_of(void *connection) {
    sqlite3_file *file = NULL;
    if (sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK) return NULL;
    return file != NULL && file->pMethods == &methods ? (struct file *)file : NULL;
}

bool cc_is_checked(void *connection) {
    struct file *file = file_of(connection);
    return file != NULL && file->checked;
}

int cc_damaged_pages(void *connection, uint32_t *numbers, uint32_t room, uint32_t *count) {
    *count = 0;
    struct file *file = file_of(connection);
    if (file == NULL || !file->checked) return SQLITE_OK;
    sqlite3_int64 size;
    int code = file_size(&file->base, &size);
    if (code != SQLITE_OK) return code;
    for (sqlite3_int64 offset = 0; offset < size && *count < room; offset += CC_PAGE) {
        unsigned char page[CC_PAGE];
        code = file_read(&file->base, page, CC_PAGE, offset);
        if (code == SQLITE_IOERR_DATA) {
            numbers[(*count)++] = last_damaged;
        } else if (code != SQLITE_OK) {
            return code;
        }
    }
    return SQLITE_OK;
}

uint32_t cc_last_damaged(void) { return last_damaged; }
