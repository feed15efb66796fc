#ifndef VARVE_ERROR_H
#define VARVE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* What a call of the vm_map family returns, with Mach's names and numbers. */
typedef int kern_return_t;

enum {
    KERN_SUCCESS = 0,
    KERN_INVALID_ADDRESS = 1,    /* not in the task's map, or not within its bounds */
    KERN_PROTECTION_FAILURE = 2, /* more than the region, the object's port or the memory entry permits */
    KERN_NO_SPACE = 3,           /* no gap of that size and alignment, or the place is taken */
    KERN_INVALID_ARGUMENT = 4,   /* an argument is malformed */
    KERN_FAILURE = 5,            /* for a reason without a code of its own: varve_last_error says which */
    KERN_RESOURCE_SHORTAGE = 6,  /* memory, disk, descriptors or mappings are exhausted, or the object is busy */
    KERN_NO_ACCESS = 8,          /* the store is open for reading, or another process writes it */
    KERN_MEMORY_FAILURE = 9,     /* the object was destroyed; permanent */
    KERN_MEMORY_ERROR = 10,      /* a page could not be given; may be transient */
    KERN_NAME_EXISTS = 13,
    KERN_INVALID_NAME = 15,
    KERN_INVALID_TASK = 16,      /* no handle of a task */
    KERN_INVALID_RIGHT = 17,
    KERN_INVALID_VALUE = 18,
    KERN_INVALID_CAPABILITY = 20,
    KERN_INVALID_OBJECT = 29,    /* the object is dead, or the handle names no memory object */
    KERN_TERMINATED = 37,        /* the task was terminated, or its store closed */
    KERN_NOT_SUPPORTED = 46,
    KERN_OPERATION_TIMED_OUT = 49
};

/* What the other calls return: 0, or one of these. They keep their numbers. */
enum varve_code {
    VARVE_OK = 0,
    VARVE_NO_STORE = 101,            /* the path holds no store */
    VARVE_STORE_EXISTS = 102,        /* something stands where the store was to be created */
    VARVE_LOCKED = 103,              /* another process is the store's writer */
    VARVE_DAMAGED = 104,             /* bytes on the disk are not what was written */
    VARVE_NEWER_FORMAT = 105,        /* made by a newer format than this library knows */
    VARVE_MISMATCHED_FILES = 106,    /* the files of the store do not belong together */
    VARVE_NOT_FOUND = 107,           /* no object, task, snapshot or version of that name */
    VARVE_EXISTS = 108,              /* the name is taken */
    VARVE_INVALID = 109,             /* an argument is malformed or out of range, or no handle of the kind wanted */
    VARVE_NOT_RETAINED = 110,        /* the version is no longer kept */
    VARVE_FULL = 111,                /* the disk or a limit of the host is exhausted; nothing was changed */
    VARVE_IO = 112,                  /* a system call failed; nothing was changed */
    VARVE_UNKNOWN_OUTCOME = 113,     /* a flush failed: the commit may be durable or not; reopening tells */
    VARVE_POISONED = 114,            /* an earlier failure made the store unusable until it is opened again */
    VARVE_READ_ONLY = 115,           /* the store is open for reading, or the state is a past one */
    VARVE_ADDRESS_TAKEN = 116,       /* something else in this process lies where the task's memory belongs */
    VARVE_UNSUPPORTED = 117,         /* the host lacks what is needed */
    VARVE_BUSY = 118,                /* in use in a way that excludes the call */
    VARVE_CHANGED_WHILE_READ = 119,  /* a file changed while it was read */
    VARVE_WRONG_STATE = 120,         /* not allowed in a forked child, or in this state */
    VARVE_NOT_RETURNED = 121,        /* the commit stands; a memory manager took no pages */

    /* of heaps */
    VARVE_NOT_ALLOCATED = 122,       /* no allocated block of the heap begins there */
    VARVE_LAYOUT_MISMATCH = 123,     /* the root was made of another type, or of another layout of it */
    VARVE_VERSION_MISMATCH = 124,    /* the root's type has another version */
    VARVE_UNSUITABLE_TYPE = 125,     /* the type can't be kept in a heap, or not in one that is not at its home address */
    VARVE_UNCOMMITTED = 126,         /* a transaction would begin on changes that no commit has made durable */
    VARVE_DOOMED = 127,              /* a transaction inside was aborted, so that this one can't be committed */
    VARVE_ABORTED = 128              /* the transaction's body asked for that */
};

/* What went wrong in a call. Later versions of the library may append members. */
typedef struct varve_error {
    int code;            /* what the call returned */
    int error_number;    /* errno of the system call that failed; 0 where none did */
    const char *name;    /* the code in a word: "NO_SPACE", "locked" */
    const char *message; /* what failed, and on what, in a sentence */
    const char *advice;  /* what to do about it, in a sentence; may be empty */
    const char *path;    /* the file or folder concerned; NULL where there is none */
    const char *text;    /* all of it in one line, to show to a person */
} varve_error_t;

/*
 * varve_last_error: what the last call that failed in this thread has to say.
 *
 * Calls that succeed leave it alone. Never NULL; before any failure its code is 0 and its strings are empty. The memory
 * is the library's and valid until the next failing call in this thread, or the thread's end.
 */
const varve_error_t *varve_last_error(void);

/*
 * varve_code_name: the name of a result of any call, of either kind: "SUCCESS", "NO_SPACE", "notFound".
 *
 * Never NULL: "UNKNOWN" for a number that has no meaning. The string lives as long as the library.
 */
const char *varve_code_name(int code);

/* The version of the interface that this header describes, and of the library that is loaded, as "0.1.0". */
#define VARVE_VERSION "0.1.0"
const char *varve_version(void);

#ifdef __cplusplus
}
#endif

#endif
