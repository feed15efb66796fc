/* Memory managers, as SEMANTICS has them: what they are asked, what they get back, and how they end. */
#define _GNU_SOURCE
#include "managers.h"

#include <stdlib.h>
#include <time.h>

/* Keepers stay: a test looks at what was called after the end. */
keeper_t *make_keeper(void) {
    keeper_t *keeper = calloc(1, sizeof *keeper);
    if (!keeper) abort();
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->changed, NULL);
    for (int page = 0; page < MOST_PAGES; page++) keeper->pages[page] = (unsigned char)(page + 1);
    keeper->result = -1;
    return keeper;
}

static void count(keeper_t *keeper, int *what) {
    pthread_mutex_lock(&keeper->lock);
    if (what != &keeper->inits && keeper->inits != 1) keeper->early++;
    if (keeper->terminations) keeper->late++;
    ++*what;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
}

int reaches(keeper_t *keeper, const int *count, int wanted) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 10;
    pthread_mutex_lock(&keeper->lock);
    int error = 0;
    while (*count < wanted && error == 0) error = pthread_cond_timedwait(&keeper->changed, &keeper->lock, &end);
    int holds = *count >= wanted;
    pthread_mutex_unlock(&keeper->lock);
    return holds;
}

static const char *on_init(void *context, varve_object_t object) {
    keeper_t *keeper = context;
    count(keeper, &keeper->inits);
    keeper->object = object;
    return keeper->on_init ? keeper->on_init(keeper) : NULL;
}

kern_return_t give(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size) {
    unsigned char *bytes = calloc(1, size);
    for (uint64_t at = 0; at < size; at += PAGE) bytes[at] = keeper->pages[(offset + at) / PAGE % MOST_PAGES];
    kern_return_t code = varve_memory_object_data_supply(request, bytes, size);
    free(bytes);
    return code;
}

const char *keep_request(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size) {
    (void)offset, (void)size;
    pthread_mutex_lock(&keeper->lock);
    if (keeper->kept_count < MOST_KEPT) keeper->kept[keeper->kept_count++] = request;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
    return NULL;
}

static const char *on_request(void *context, varve_object_t object, varve_request_t request, uint64_t offset, uint64_t size) {
    keeper_t *keeper = context;
    if (object != keeper->object) return "another object than init was told of";
    if (keeper->requests == 0) keeper->first_offset = offset, keeper->first_size = size;
    count(keeper, &keeper->requests);
    if (keeper->on_request) return keeper->on_request(keeper, request, offset, size);
    give(keeper, request, offset, size);
    return NULL;
}

static const char *on_return(void *context, varve_object_t object, const varve_returned_t *pages) {
    keeper_t *keeper = context;
    if (object != keeper->object) return "another object than init was told of";
    if (keeper->refusal) {
        count(keeper, &keeper->returns);
        return keeper->refusal;
    }
    for (uint64_t run = 0; run < pages->count; run++) {
        const unsigned char *data = pages->runs[run].data;
        for (uint64_t at = 0; at < pages->runs[run].size; at += PAGE) {
            keeper->pages[(pages->runs[run].offset + at) / PAGE % MOST_PAGES] = data[at];
        }
    }
    keeper->last_version = pages->version;
    count(keeper, &keeper->returns);
    return NULL;
}

static void on_terminate(void *context, varve_object_t object) {
    keeper_t *keeper = context;
    uint64_t number = 0;
    if (object != keeper->object || varve_object_number(object, &number)) keeper->early++;
    count(keeper, &keeper->terminations);
}

varve_manager_t manager_of(keeper_t *keeper) {
    varve_manager_t manager = {sizeof manager, keeper, on_init, on_request, on_return, on_terminate};
    return manager;
}

varve_object_t managed_object(keeper_t *keeper, uint64_t pages, uint32_t deadline_ms, uint32_t cluster) {
    varve_object_t object = NULL;
    varve_manager_t manager = manager_of(keeper);
    varve_manager_attributes_t attributes = {sizeof attributes, deadline_ms ? deadline_ms : 10000, cluster ? cluster : 16};
    OK(varve_memory_object_create(store, pages * PAGE, VM_PROT_ALL, &manager, deadline_ms || cluster ? &attributes : NULL, &object));
    return object;
}

int fills_on_demand(void) {
    varve_store_info_t info = {.size = sizeof info};
    OK(varve_store_info(store, &info));
    return info.fills_on_demand;
}

int error_has(const char *word) { return strstr(varve_last_error()->text, word) != NULL; }

kern_return_t read_page(varve_object_t object, uint64_t page) {
    vm_address_t address = 0;
    unsigned char byte = 0;
    kern_return_t code = varve_vm_map(
        task, &address, (page + 1) * PAGE, 0, ANYWHERE, object, 0, 0, VM_PROT_DEFAULT, VM_PROT_ALL, VM_INHERIT_DEFAULT);
    if (code) return code;
    return varve_vm_read_overwrite(task, address + page * PAGE, 1, &byte, NULL);
}

TEST(pages_come_from_the_manager_and_go_back_to_it) {
    keeper_t *keeper = make_keeper();
    varve_object_t object = managed_object(keeper, 40, 0, 0);
    uint64_t number = 0, told = 0, version = 0;
    OK(varve_object_number(object, &number));
    vm_address_t address = map_object(task, object, 40, 0), plain = allocate(1);
    OK(varve_object_number(keeper->object, &told));
    CHECK(number == told && number != 0);
    for (int page = 0; page < 40; page++) CHECK(*at(address + page * PAGE) == page + 1);
    unsigned char byte = 0;
    OK(varve_vm_read_overwrite(task, address + 7 * PAGE, 1, &byte, NULL));
    CHECK(byte == 8);
    *at(address + 5 * PAGE) = 200;
    *at(address + 39 * PAGE) = 201;
    *at(plain) = 1;
    OK(varve_commit(store, NULL, 0, NULL, &version));
    CHECK(keeper->returns == 1 && keeper->last_version == version);
    CHECK(keeper->pages[5] == 200 && keeper->pages[39] == 201 && keeper->pages[6] == 7);
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(keeper->returns == 1 && keeper->inits == 1 && keeper->terminations == 0);
    /* Neither handle nor mapping: the next commit ends it. */
    OK(varve_release(object));
    OK(varve_vm_deallocate(task, address, 40 * PAGE));
    *at(plain) = 2;
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(reaches(keeper, &keeper->terminations, 1));
    CHECK(keeper->early == 0 && keeper->late == 0);
}

TEST(an_object_that_ends_within_a_page) {
    keeper_t *keeper = make_keeper();
    varve_manager_t manager = manager_of(keeper);
    varve_object_t object = NULL;
    OK(varve_memory_object_create(store, PAGE + 100, VM_PROT_ALL, &manager, NULL, &object));
    vm_address_t address = map_object(task, object, 3, 0);
    CHECK(*at(address + PAGE) == 2 && *at(address + PAGE + 100) == 0);
    CHECK(load_raises(address + 2 * PAGE) != 0);
    varve_fault_t fault = {0};
    OK(varve_last_fault(task, address + 2 * PAGE, &fault));
    CHECK(fault.code == KERN_MEMORY_ERROR && strstr(fault.reason, "beyond"));
}

static const char *answer_unavailable(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size) {
    (void)offset, (void)size;
    keeper->result = varve_memory_object_data_unavailable(request);
    return NULL;
}

TEST(unavailable_pages_are_zeros) {
    keeper_t *keeper = make_keeper();
    keeper->on_request = answer_unavailable;
    varve_object_t object = managed_object(keeper, 3, 0, 0);
    vm_address_t shared = map_object(task, object, 3, 0), copy = map_object(task, object, 3, 1);
    for (int page = 0; page < 3; page++) CHECK(*at(shared + page * PAGE) == 0 && *at(copy + page * PAGE) == 0);
    CHECK(reaches(keeper, &keeper->result, 0) && keeper->result == KERN_SUCCESS);
}

TEST(copies_of_managed_objects_never_change) {
    keeper_t *keeper = make_keeper();
    varve_object_t object = managed_object(keeper, 8, 0, 0);
    vm_address_t address = map_object(task, object, 8, 0);
    *at(address + PAGE) = 99;
    vm_address_t copy = map_object(task, object, 8, 1);
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    *at(address + PAGE) = 100;
    memset(keeper->pages, 77, sizeof keeper->pages);
    OK(varve_memory_object_destroy(object, "test"));
    for (int page = 0; page < 8; page++) CHECK(*at(copy + page * PAGE) == (page == 1 ? 99 : page + 1));
    reopen();
    CHECK(!is_mapped(task, address));
    for (int page = 0; page < 8; page++) CHECK(*at(copy + page * PAGE) == (page == 1 ? 99 : page + 1));
}

TEST(resident_pages_stay_as_they_are) {
    keeper_t *keeper = make_keeper();
    varve_object_t object = managed_object(keeper, 16, 0, 1);
    vm_address_t address = map_object(task, object, 16, 0);
    *at(address + PAGE) = 77;
    varve_manager_attributes_t attributes = {.size = sizeof attributes};
    OK(varve_memory_object_get_attributes(object, &attributes));
    CHECK(attributes.deadline_ms == 10000 && attributes.cluster_pages == 1);
    attributes.cluster_pages = 16;
    OK(varve_memory_object_change_attributes(object, &attributes));
    CHECK(*at(address + 2 * PAGE) == 3 && *at(address + PAGE) == 77);
}

TEST(a_lock_request_returns_and_flushes) {
    keeper_t *keeper = make_keeper();
    varve_object_t object = managed_object(keeper, 4, 0, 1);
    vm_address_t address = map_object(task, object, 4, 0);
    *at(address) = 50;
    *at(address + PAGE) = 51;
    OK(varve_memory_object_lock_request(object, 0, PAGE, 1, 0));
    CHECK(reaches(keeper, &keeper->returns, 1) && keeper->pages[0] == 50 && keeper->pages[1] == 2);
    OK(varve_memory_object_lock_request(object, PAGE, 1, 0, 1));
    unsigned char byte = 0;
    for (int wait = 0; wait < 1000 && byte != 2; wait++) {
        OK(varve_vm_read_overwrite(task, address + PAGE, 1, &byte, NULL));
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    CHECK(byte == 2 && *at(address) == 50);
    /* The manager's own handle does as well. */
    OK(varve_memory_object_lock_request(keeper->object, 0, 4 * PAGE, 1, 1));
    OK(varve_memory_object_lock_request(object, 0, 0, 1, 1));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_lock_request(object, 4 * PAGE, 1, 1, 0));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_lock_request(object, UINT64_MAX, 2, 1, 0));
}

TEST(a_port_to_a_managed_object_permits_less) {
    varve_object_t object = managed_object(make_keeper(), 2, 0, 0), port = NULL, again = NULL;
    OK(varve_object_port(object, VM_PROT_READ, &port));
    vm_address_t address = 0;
    EXPECT(KERN_PROTECTION_FAILURE, varve_vm_map(task, &address, PAGE, 0, 1, port, 0, 0, 1, 3, 1));
    OK(varve_vm_map(task, &address, PAGE, 0, 1, port, 0, 0, 1, 1, 1));
    CHECK(*at(address) == 1);
    EXPECT(VARVE_INVALID, varve_object_port(object, 8, &again));
}

TEST(arguments_of_managed_objects) {
    keeper_t *keeper = make_keeper();
    varve_manager_t manager = manager_of(keeper), bad = manager;
    varve_object_t object = NULL, ordinary = object_of("o", 1, 0);
    varve_manager_attributes_t attributes = {sizeof attributes, 0, 16};
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create(NULL, PAGE, 7, &manager, NULL, &object));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create((varve_store_t)task, PAGE, 7, &manager, NULL, &object));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create(store, PAGE, 7, NULL, NULL, &object));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create(store, PAGE, 7, &manager, NULL, NULL));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create(store, 0, 7, &manager, NULL, &object));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create(store, UINT64_MAX, 7, &manager, NULL, &object));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create(store, PAGE, 8, &manager, NULL, &object));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create(store, PAGE, 7, &manager, &attributes, &object));
    attributes.deadline_ms = 100, attributes.cluster_pages = 3;
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create(store, PAGE, 7, &manager, &attributes, &object));
    attributes.cluster_pages = 16, attributes.size = 8;
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create(store, PAGE, 7, &manager, &attributes, &object));
    bad.data_request = NULL;
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create(store, PAGE, 7, &bad, NULL, &object));
    bad = manager, bad.size = 16;
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create(store, PAGE, 7, &bad, NULL, &object));
    struct {
        varve_manager_t known;
        void *more[2];
    } later = {manager, {NULL, NULL}};
    later.known.size = sizeof later;
    later.more[1] = keeper;
    EXPECT(KERN_NOT_SUPPORTED, varve_memory_object_create(store, PAGE, 7, &later.known, NULL, &object));
    CHECK(object == NULL && keeper->inits == 0);
    later.more[1] = NULL;
    OK(varve_memory_object_create(store, PAGE, 7, &later.known, NULL, &object));
    CHECK(read_page(object, 0) == KERN_SUCCESS);
    varve_store_t reader = NULL;
    EXPECT(KERN_INVALID_OBJECT, varve_memory_object_lock_request(ordinary, 0, PAGE, 1, 0));
    EXPECT(KERN_INVALID_OBJECT, varve_memory_object_destroy(NULL, "no"));
    EXPECT(KERN_INVALID_OBJECT, varve_memory_object_terminate((varve_object_t)task));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_change_attributes(object, NULL));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_get_attributes(object, NULL));
    /* The manager's handle names it, and is none to map. */
    vm_address_t address = 0;
    EXPECT(KERN_INVALID_OBJECT, varve_vm_map(task, &address, PAGE, 0, 1, keeper->object, 0, 0, 3, 7, 1));
    varve_store_t other = second_store("read.varve");
    OK(varve_store_close(other));
    OK(varve_store_open(path_of("read.varve"), VARVE_OPEN_READ, &reader));
    EXPECT(KERN_NO_ACCESS, varve_memory_object_create(reader, PAGE, 7, &manager, NULL, &object));
    OK(varve_store_close(reader));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_create(reader, PAGE, 7, &manager, NULL, &object));
}

/* A manager may call the store, and store to memory that it does not serve. */
static const char *use_the_store(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size) {
    char name[32];
    snprintf(name, sizeof name, "used %d", keeper->requests);
    varve_object_t object = NULL;
    vm_address_t address = 0;
    if (varve_object_create(store, name, PAGE, VARVE_OBJECT_SHARED, NULL, &object)) return varve_last_error()->text;
    if (varve_vm_map(task, &address, PAGE, 0, 1, object, 0, 0, 3, 7, 1)) return varve_last_error()->text;
    *at(address) = 42;
    give(keeper, request, offset, size);
    return NULL;
}

TEST(a_manager_may_use_the_store) {
    keeper_t *keeper = make_keeper();
    keeper->on_request = use_the_store;
    varve_object_t object = managed_object(keeper, 1, 0, 0);
    EXPECT(KERN_SUCCESS, read_page(object, 0));
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    unsigned char byte = 0;
    OK(varve_read(store, "used 1", 0, &byte, 1, NULL));
    CHECK(byte == 42);
}

static void *load_page(void *address) { return (void *)(uintptr_t)*at((vm_address_t)(uintptr_t)address); }

/* The first is answered later; whoever comes when that is done is answered at once. */
static const char *keep_the_first(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size) {
    if (keeper->requests == 1) return keep_request(keeper, request, offset, size);
    give(keeper, request, offset, size);
    return NULL;
}

TEST(one_answer_wakes_everybody) {
    if (!fills_on_demand()) return;
    keeper_t *keeper = make_keeper();
    keeper->on_request = keep_the_first;
    varve_object_t object = managed_object(keeper, 8, 60000, 8);
    vm_address_t address = map_object(task, object, 8, 0);
    pthread_t threads[8];
    for (uint64_t page = 0; page < 8; page++) {
        pthread_create(&threads[page], NULL, load_page, (void *)(uintptr_t)(address + page * PAGE));
    }
    CHECK(reaches(keeper, &keeper->kept_count, 1));
    CHECK(keeper->first_offset == 0 && keeper->first_size == 8 * PAGE && keeper->requests == 1);
    /* From a thread that is not the library's. */
    OK(give(keeper, keeper->kept[0], 0, 8 * PAGE));
    for (uint64_t page = 0; page < 8; page++) {
        void *found = NULL;
        pthread_join(threads[page], &found);
        CHECK((uintptr_t)found == page + 1);
    }
}
