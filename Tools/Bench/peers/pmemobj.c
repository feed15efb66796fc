// libpmemobj on a plain file, where its flushes are msync: a transaction a commit, each page added to it
// (an undo log) before it is copied over. The object is the pool's root.
#include "peer.h"

#include <libpmemobj.h>
#include <string.h>

static PMEMobjpool *pool;
static PMEMoid root;

static void check(const char *what, int failed) {
    if (failed) peer_fail_message(what, pmemobj_errormsg());
}

static void prepare(void *context, const char *dir, uint32_t pages) {
    (void)context;
    size_t length = (size_t)pages * PEER_PAGE_BYTES;
    const char *path = peer_path(dir, "pool");
    pool = pmemobj_create(path, "page", length + length / 4 + ((size_t)64 << 20), 0600);
    check(path, !pool);
    root = pmemobj_root(pool, length);
    check("pmemobj_root", OID_IS_NULL(root));
    peer_fill(pmemobj_direct(root), length);
    pmemobj_persist(pool, pmemobj_direct(root), length);
}

static void commit(void *context, const uint32_t *page, const uint8_t *content, size_t count) {
    (void)context;
    check("pmemobj_tx_begin", pmemobj_tx_begin(pool, NULL, TX_PARAM_NONE));
    for (size_t i = 0; i < count; i++) {
        uint64_t at = (uint64_t)page[i] * PEER_PAGE_BYTES;
        check("pmemobj_tx_add_range", pmemobj_tx_add_range(root, at, PEER_PAGE_BYTES));
        memcpy((uint8_t *)pmemobj_direct(root) + at, content + i * PEER_PAGE_BYTES, PEER_PAGE_BYTES);
    }
    pmemobj_tx_commit();
    check("pmemobj_tx_end", pmemobj_tx_end());
}

static void finish(void *context) {
    (void)context;
    pmemobj_close(pool);
}

int main(int argc, char **argv) {
    const struct peer_engine engine = {NULL, prepare, commit, finish};
    return peer_main_arguments(&engine, argc, argv);
}
