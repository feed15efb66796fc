#ifndef VARVE_UPKEEP_H
#define VARVE_UPKEEP_H

#include "error.h"
#include "map_types.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One thing that varve_verify found. The strings are valid until the visitor returns. */
typedef struct varve_finding {
    const char *place;    /* the file, and where in it */
    const char *message;
    uint64_t object;      /* the object's number, 0 where none is meant */
    uint64_t first_page;
    uint64_t page_count;  /* 0 where no pages are meant */
    int is_damage;        /* 1: bytes that something still needs are lost; 0: a warning, nothing is lost */
    int reserved;
} varve_finding_t;

typedef int (*varve_finding_visitor_t)(void *context, const varve_finding_t *finding);

/* What was looked at. */
typedef struct varve_verify_summary {
    uint64_t objects, versions, pages, bytes, journal_records, findings;
} varve_verify_summary_t;

/*
 * varve_verify: checks everything that is kept: structure, checksums of all live pages, chains, journal, catalog and how
 * they agree.
 *
 * visitor (optional) is shown each finding as it is met, and may call nothing of this store; one that answers other than 0
 * is shown no more. *summary is optional. The call succeeds whatever it finds, and fails only where checking itself does:
 * VARVE_IO, VARVE_FULL, VARVE_WRONG_STATE. A file that somebody cut short may raise SIGBUS.
 */
int varve_verify(
    varve_store_t store, varve_finding_visitor_t visitor, void *context, varve_verify_summary_t *summary);

/* What varve_repair saved. */
typedef struct varve_repair_summary {
    uint64_t objects, snapshots;
    uint64_t pages_kept;
    uint64_t pages_lost; /* they read as zeros in the copy */
} varve_repair_summary_t;

typedef int (*varve_loss_visitor_t)(void *context, const char *loss);

/*
 * varve_repair: makes a store at copy of all that is intact in the one at path, which is only read.
 *
 * visitor (optional) is shown a sentence for each thing that is not in the copy as it was. *summary is optional. Versions
 * are counted anew. VARVE_DAMAGED where the page store's trees can't be walked, VARVE_LOCKED where a process writes the
 * store, VARVE_NO_STORE, VARVE_STORE_EXISTS, VARVE_FULL, VARVE_IO.
 */
int varve_repair(
    const char *path, const char *copy, varve_loss_visitor_t visitor, void *context, varve_repair_summary_t *summary);

/* What varve_reclaim did; of a dry run, what it would. */
typedef struct varve_reclaim_report {
    uint64_t layers_dropped, layers_merged;
    uint64_t bytes_freed;     /* of pages that are out of use now */
    uint64_t bytes_rewritten; /* of pages that were written again for that */
    uint64_t bytes_pinned;    /* out of use, and still shown to somebody */
} varve_reclaim_report_t;

/*
 * varve_reclaim: frees what nobody can see any more; with dry_run it only says what that would be. *report is optional.
 *
 * VARVE_FULL, VARVE_IO, VARVE_LOCKED.
 */
int varve_reclaim(varve_store_t store, boolean_t dry_run, varve_reclaim_report_t *report);

/*
 * varve_retain: sets what is kept beside the last commit and snapshots: the newest `versions` of each object, and what is
 * younger than `seconds`. A change is a commit. VARVE_LOCKED, VARVE_FULL, VARVE_IO.
 */
int varve_retain(varve_store_t store, uint32_t versions, uint32_t seconds);

/* varve_retention: what varve_retain set; both are optional. */
int varve_retention(varve_store_t store, uint32_t *versions, uint32_t *seconds);

/* Why a page can't be accessed. */
typedef struct varve_fault {
    kern_return_t code;  /* KERN_MEMORY_ERROR: perhaps for now. KERN_MEMORY_FAILURE: for good. KERN_SUCCESS: nothing is known */
    int reserved;
    uint64_t object;     /* its number */
    uint64_t offset;     /* bytes into the object, where the page begins */
    char reason[240];    /* ends with a zero byte; a longer one is cut */
} varve_fault_t;

/*
 * varve_last_fault: why an access to address raised SIGBUS, or would: its page lies beyond the object's end, or could not be
 * had when it was asked for last. Not from a signal handler. KERN_INVALID_TASK, KERN_INVALID_ARGUMENT (NULL).
 */
kern_return_t varve_last_fault(varve_task_t task, vm_address_t address, varve_fault_t *fault);

#ifdef __cplusplus
}
#endif

#endif
