/* What the tests of the C interface share: a list of tests, checks that name what failed, a store for each test. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <varve.h>

#define PAGE ((uint64_t)4096)
#define ANYWHERE 1
#define FIXED 0

/* A test registers itself. */
#define TEST(name)                                                                              \
    static void name(void);                                                                     \
    __attribute__((constructor)) static void register_##name(void) { add_test(#name, name); }   \
    static void name(void)

/* What this program does where a test starts it with `--inherit`. */
int inherit_and_look(int count, char **words);
/* The same with `--remote PATH`. */
int attach_and_look(const char *path);

void add_test(const char *name, void (*run)(void));
void check(int holds, const char *file, int line, const char *text);
void check_code(int wanted, int found, const char *file, int line, const char *text);

#define CHECK(condition) check((condition) != 0, __FILE__, __LINE__, #condition)
/* Checks what a call returns; where it fails, says what the library said. */
#define EXPECT(code, call) check_code((code), (call), __FILE__, __LINE__, #call)
#define OK(call) EXPECT(0, call)

/* A store of the test's own, with one task whose window begins at `base`. Ends with the test. */
extern varve_store_t store;
extern varve_task_t task;
extern vm_address_t base;

/* A path in the test's folder. */
const char *path_of(const char *name);
/* Makes and opens a second store, whose window is far from this one's. */
varve_store_t second_store(const char *name);
/* Closes the store and opens it again, with its task. */
void reopen(void);

/* An object of so many pages, whose page n begins with the byte n + 1 when `filled`. */
varve_object_t object_of(const char *name, uint64_t pages, int filled);
/* Memory at a new place; 0 where it can't be had. */
vm_address_t map_object(varve_task_t into, varve_object_t object, uint64_t pages, boolean_t copy);
vm_address_t allocate(uint64_t pages);
varve_region_info_t region_at(varve_task_t of, vm_address_t address, vm_address_t *start, vm_size_t *size);
/* Whether the page of an address is part of a region. */
int is_mapped(varve_task_t of, vm_address_t address);

static inline volatile unsigned char *at(vm_address_t address) { return (volatile unsigned char *)(uintptr_t)address; }
/* The signal that an access raises, or 0. */
int load_raises(vm_address_t address);
int store_raises(vm_address_t address);

#endif
