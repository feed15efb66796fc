/* Memory managers for the tests: what they are told is counted, what they do is chosen. */
#ifndef MANAGERS_H
#define MANAGERS_H

#include "check.h"

#include <pthread.h>

enum { MOST_PAGES = 64, MOST_KEPT = 128 };

typedef struct keeper keeper_t;

/* Page n begins with the byte n + 1, until another comes back. */
struct keeper {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int inits, requests, returns, terminations;
    int early, late; /* calls before init, after terminate */
    uint64_t first_offset, first_size; /* of the first request */
    uint64_t last_version;
    unsigned char pages[MOST_PAGES];
    varve_object_t object;
    /* What it does instead, where that is not NULL. */
    const char *(*on_init)(keeper_t *keeper);
    const char *(*on_request)(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size);
    const char *refusal; /* of what comes back */
    int result;          /* what the last answer returned */
    varve_request_t kept[MOST_KEPT];
    int kept_count;
};

keeper_t *make_keeper(void);
/* The manager that a keeper is the context of. */
varve_manager_t manager_of(keeper_t *keeper);
/* An object of so many pages; deadline and cluster in the attributes' units, 0 for the usual ones. */
varve_object_t managed_object(keeper_t *keeper, uint64_t pages, uint32_t deadline_ms, uint32_t cluster);
/* Answers a request with what the keeper has. */
kern_return_t give(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size);
/* Keeps a request for later. */
const char *keep_request(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size);
/* Waits until *count is at least `wanted`; 0 where that takes more than ten seconds. */
int reaches(keeper_t *keeper, const int *count, int wanted);

/* What reading the page of a new object, through a new mapping, answers. */
kern_return_t read_page(varve_object_t object, uint64_t page);
/* Whether pages come when they are touched; else mapping asks for all. */
int fills_on_demand(void);
/* Whether the last error's sentence has a word. */
int error_has(const char *word);

#endif
