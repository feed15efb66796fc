#ifndef VARVE_CRASH_ADAPTERS_MODEL_H
#define VARVE_CRASH_ADAPTERS_MODEL_H

#include <stddef.h>
#include <stdint.h>

// What the adapters' stores hold: keys under which the number of the transaction lies that wrote them last, from which the
// value's bytes follow. Both sides derive it from the seed.

#define KEYS 48
#define TRANSACTIONS 30
#define LARGEST_VALUE 9000

struct model {
    uint64_t random;
    int done;
    /// 0: the key is not there.
    uint64_t writer[KEYS];
};

void model_begin(struct model *, uint64_t seed);
/// Performs the next transaction; sets `changed` for its keys.
void model_next(struct model *, unsigned char changed[KEYS]);
/// The value of a key that a transaction wrote; returns its length.
size_t model_value(uint64_t seed, int key, uint64_t writer, unsigned char *bytes);

/// A store of one kind: each function returns NULL, or what went wrong.
struct kind {
    const char *name;
    int variant;
    /// Makes the store in a folder.
    const char *(*create)(const char *folder, int variant);
    const char *(*open)(const char *folder, int variant, void **store);
    const char *(*commit)(void *store, const struct model *, uint64_t seed, const unsigned char changed[KEYS]);
    /// Fills `writer` with what is there; NULL values are checked against their bytes.
    const char *(*read)(void *store, uint64_t seed, uint64_t writer[KEYS]);
    void (*close)(void *store);
    /// Where the store is, below the folder.
    const char *path;
};

extern const struct kind lmdb_kinds[], sqlite_kinds[], plain_kinds[];

/// A sentence that stays until the next one.
const char *failure(const char *format, ...) __attribute__((format(printf, 1, 2)));
/// The same, where it is the store itself that says so.
const char *refusal(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
