/* Memory managers that fail, in every way that a program can: it harms who needs the pages, and nobody else. */
#define _GNU_SOURCE
#include "managers.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

static void pause_ms(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

static const char *fail_with_error(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size) {
    (void)offset, (void)size;
    keeper->result = varve_memory_object_data_error(request, "out of ink");
    return NULL;
}

static const char *fail_by_answer(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size) {
    (void)keeper, (void)request, (void)offset, (void)size;
    return "out of ink";
}

static const char *let_go(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size) {
    (void)offset, (void)size;
    keeper->result = varve_release(request);
    return NULL;
}

TEST(a_page_that_can_not_be_given_is_a_memory_error) {
    static const struct { const char *(*request)(keeper_t *, varve_request_t, uint64_t, uint64_t); const char *reason; } ways[] = {
        {fail_with_error, "out of ink"}, {fail_by_answer, "out of ink"}, {let_go, "without an answer"},
    };
    for (unsigned way = 0; way < sizeof ways / sizeof *ways; way++) {
        keeper_t *keeper = make_keeper();
        keeper->on_request = ways[way].request;
        varve_object_t object = managed_object(keeper, 4, 60000, 4);
        EXPECT(KERN_MEMORY_ERROR, read_page(object, 1));
        CHECK(error_has(ways[way].reason));
        if (!fills_on_demand()) continue;
        vm_address_t address = map_object(task, object, 4, 0), copy = 0;
        CHECK(load_raises(address + PAGE) == SIGBUS && store_raises(address + 2 * PAGE) == SIGBUS);
        varve_fault_t fault = {0};
        uint64_t number = 0;
        OK(varve_object_number(object, &number));
        OK(varve_last_fault(task, address + PAGE + 5, &fault));
        CHECK(fault.code == KERN_MEMORY_ERROR && fault.object == number && fault.offset == PAGE);
        CHECK(strstr(fault.reason, ways[way].reason));
        EXPECT(KERN_MEMORY_ERROR, varve_vm_write(task, address, "x", 1));
        EXPECT(KERN_MEMORY_ERROR, varve_vm_copy(task, address, 1, address + PAGE));
        EXPECT(KERN_MEMORY_ERROR, varve_vm_wire(task, address, PAGE, VM_PROT_READ));
        EXPECT(KERN_MEMORY_ERROR, varve_vm_map(task, &copy, PAGE, 0, 1, object, 0, 1, 3, 7, 1));
        CHECK(copy == 0);
        /* What was refused is asked for again. */
        keeper->on_request = NULL;
        unsigned char byte = 0;
        OK(varve_vm_read_overwrite(task, address + PAGE, 1, &byte, NULL));
        CHECK(byte == 2);
    }
}

TEST(a_request_has_a_deadline) {
    keeper_t *keeper = make_keeper();
    keeper->on_request = keep_request;
    varve_object_t object = managed_object(keeper, 1, 50, 0);
    EXPECT(KERN_MEMORY_ERROR, read_page(object, 0));
    CHECK(error_has("deadline"));
    CHECK(keeper->kept_count == 1);
    /* Too late; and the handle has ended then. */
    EXPECT(KERN_OPERATION_TIMED_OUT, give(keeper, keeper->kept[0], 0, PAGE));
    EXPECT(KERN_OPERATION_TIMED_OUT, give(keeper, keeper->kept[0], 0, PAGE));
    EXPECT(KERN_OPERATION_TIMED_OUT, varve_memory_object_data_unavailable(keeper->kept[0]));
    EXPECT(KERN_OPERATION_TIMED_OUT, varve_memory_object_data_error(keeper->kept[0], "late"));
    EXPECT(VARVE_INVALID, varve_release(keeper->kept[0]));
    if (!fills_on_demand()) return;
    vm_address_t address = map_object(task, object, 1, 0);
    CHECK(load_raises(address) == SIGBUS);
    varve_fault_t fault = {0};
    OK(varve_last_fault(task, address, &fault));
    CHECK(fault.code == KERN_MEMORY_ERROR && strstr(fault.reason, "deadline"));
}

TEST(requests_that_nobody_answers_come_to_an_end) {
    keeper_t *keeper = make_keeper();
    keeper->on_request = keep_request;
    varve_object_t object = managed_object(keeper, 1, 0, 0);
    /* From here on: initializing has the usual deadline. */
    varve_manager_attributes_t attributes = {sizeof attributes, 1, 1};
    OK(varve_memory_object_change_attributes(object, &attributes));
    for (int round = 0; round < 100; round++) EXPECT(KERN_MEMORY_ERROR, read_page(object, 0));
    for (int kept = 0; kept < keeper->kept_count; kept++) {
        EXPECT(KERN_OPERATION_TIMED_OUT, varve_memory_object_data_unavailable(keeper->kept[kept]));
    }
    OK(varve_memory_object_terminate(object));
    CHECK(reaches(keeper, &keeper->terminations, 1));
    /* The manager's handle ends when that returns. */
    uint64_t number = 0;
    int code = 0;
    for (int wait = 0; wait < 1000 && code == 0; wait++, pause_ms(5)) code = varve_object_number(keeper->object, &number);
    CHECK(code == VARVE_INVALID);
    EXPECT(KERN_INVALID_OBJECT, varve_memory_object_destroy(keeper->object, "it has ended"));
}

static const char *answer_twice(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size) {
    OK(give(keeper, request, offset, size));
    int result = varve_memory_object_data_unavailable(request);
    pthread_mutex_lock(&keeper->lock);
    keeper->result = result;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
    return "a third answer";
}

TEST(the_first_answer_counts) {
    keeper_t *keeper = make_keeper();
    keeper->on_request = answer_twice;
    EXPECT(KERN_SUCCESS, read_page(managed_object(keeper, 1, 0, 0), 0));
    CHECK(reaches(keeper, &keeper->result, 0));
    CHECK(keeper->result == KERN_OPERATION_TIMED_OUT);
}

static int64_t excess;

static const char *answer_otherwise(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size) {
    (void)offset;
    char *bytes = calloc(1, size + 2 * PAGE);
    int result = varve_memory_object_data_supply(request, excess ? bytes : NULL, size + (uint64_t)excess);
    free(bytes);
    pthread_mutex_lock(&keeper->lock);
    keeper->result = result;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
    return NULL;
}

TEST(an_answer_of_another_size_fails_the_request) {
    static const int64_t all[] = {-1, 1, 4096, -4096, 1 << 30, INT64_MAX, INT64_MIN, 0};
    for (unsigned index = 0; index < sizeof all / sizeof *all; index++) {
        excess = all[index];
        keeper_t *keeper = make_keeper();
        keeper->on_request = answer_otherwise;
        EXPECT(KERN_MEMORY_ERROR, read_page(managed_object(keeper, 2, 60000, 2), 0));
        CHECK(error_has("were asked for"));
        CHECK(reaches(keeper, &keeper->result, 0) && keeper->result == KERN_INVALID_ARGUMENT);
    }
}

TEST(what_is_no_request_is_refused) {
    varve_object_t object = object_of("o", 1, 0);
    char byte = 0;
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_data_unavailable(NULL));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_data_supply((varve_request_t)object, &byte, 1));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_data_error((varve_request_t)&byte, NULL));
    EXPECT(KERN_INVALID_ARGUMENT, varve_memory_object_data_error((varve_request_t)(UINTPTR_MAX), NULL));
    uint64_t number = 0;
    OK(varve_object_number(object, &number));
}

static const char *exit_thread(keeper_t *keeper, varve_request_t request, uint64_t offset, uint64_t size) {
    (void)keeper, (void)request, (void)offset, (void)size;
    pthread_exit(NULL);
}

TEST(a_manager_whose_thread_exits_is_gone) {
    keeper_t *keeper = make_keeper();
    keeper->on_request = exit_thread;
    varve_object_t object = managed_object(keeper, 1, 60000, 0);
    EXPECT(KERN_MEMORY_ERROR, read_page(object, 0));
    CHECK(error_has("exited"));
    EXPECT(KERN_INVALID_OBJECT, read_page(object, 0));
    EXPECT(KERN_SUCCESS, read_page(managed_object(make_keeper(), 1, 0, 0), 0));
    CHECK(keeper->terminations == 0);
}

static const char *refuse_init(keeper_t *keeper) {
    (void)keeper;
    return "no paper";
}

static const char *slow_init(keeper_t *keeper) {
    if (!reaches(keeper, &keeper->result, 0)) return "never";
    return NULL;
}

TEST(an_object_whose_manager_does_not_initialize_can_not_be_mapped) {
    keeper_t *refuser = make_keeper(), *slow = make_keeper();
    refuser->on_init = refuse_init;
    slow->on_init = slow_init;
    varve_object_t refused = managed_object(refuser, 1, 0, 0), late = managed_object(slow, 1, 100, 0);
    EXPECT(KERN_INVALID_OBJECT, read_page(refused, 0));
    CHECK(error_has("no paper"));
    EXPECT(KERN_INVALID_OBJECT, read_page(late, 0));
    pthread_mutex_lock(&slow->lock);
    slow->result = 0;
    pthread_cond_broadcast(&slow->changed);
    pthread_mutex_unlock(&slow->lock);
    kern_return_t code = KERN_INVALID_OBJECT;
    for (int wait = 0; wait < 1000 && code; wait++, pause_ms(5)) code = read_page(late, 0);
    CHECK(code == KERN_SUCCESS && refuser->terminations == 0 && refuser->requests == 0);
}

/* The context is the program's again when terminate returns, whenever the object ends. */
TEST(terminate_is_the_last_call) {
    for (int round = 0; round < 60; round++) {
        keeper_t *keeper = make_keeper();
        varve_object_t object = managed_object(keeper, 1, 0, 0);
        if (round % 3 == 1) CHECK(read_page(object, 0) == KERN_SUCCESS);
        switch (round % 4) {
            case 0: OK(varve_memory_object_terminate(object)); break;
            case 1: OK(varve_memory_object_destroy(object, NULL)); break;
            case 2: OK(varve_memory_object_destroy(object, "test")); OK(varve_memory_object_terminate(object)); break;
            default: reopen();
        }
        CHECK(reaches(keeper, &keeper->terminations, 1));
        OK(varve_release(object));
        CHECK(keeper->inits == 1 && keeper->terminations == 1 && keeper->early == 0 && keeper->late == 0);
    }
}

TEST(a_destroyed_object_is_a_memory_failure) {
    keeper_t *keeper = make_keeper();
    varve_object_t object = managed_object(keeper, 4, 0, 0);
    vm_address_t address = map_object(task, object, 4, 0), copy = 0;
    *at(address) = 5;
    OK(varve_memory_object_destroy(keeper->object, "the disk is gone"));
    unsigned char byte = 0;
    EXPECT(KERN_MEMORY_FAILURE, varve_vm_read_overwrite(task, address, 1, &byte, NULL));
    CHECK(error_has("the disk is gone"));
    EXPECT(KERN_MEMORY_FAILURE, varve_vm_write(task, address, "x", 1));
    EXPECT(KERN_MEMORY_FAILURE, varve_vm_wire(task, address, PAGE, VM_PROT_READ));
    EXPECT(KERN_MEMORY_FAILURE, varve_vm_remap(task, &copy, PAGE, 0, 1, task, address, 1, NULL, NULL, 1));
    CHECK(load_raises(address) == SIGBUS && store_raises(address + PAGE) == SIGBUS);
    varve_fault_t fault = {0};
    OK(varve_last_fault(task, address + PAGE, &fault));
    CHECK(fault.code == KERN_MEMORY_FAILURE && strcmp(fault.reason, "the disk is gone") == 0 && fault.offset == PAGE);
    EXPECT(KERN_INVALID_OBJECT, read_page(object, 0));
    OK(varve_memory_object_destroy(object, "again"));
    EXPECT(KERN_INVALID_OBJECT, varve_memory_object_lock_request(object, 0, PAGE, 1, 0));
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(keeper->returns == 0);
}

TEST(a_terminated_object_keeps_what_is_in_memory) {
    keeper_t *keeper = make_keeper();
    varve_object_t object = managed_object(keeper, 2, 0, 1);
    vm_address_t address = map_object(task, object, 2, 0);
    *at(address) = 5;
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    OK(varve_memory_object_terminate(object));
    CHECK(reaches(keeper, &keeper->terminations, 1) && keeper->pages[0] == 5);
    CHECK(*at(address) == 5);
    unsigned char byte = 0;
    if (fills_on_demand()) EXPECT(KERN_MEMORY_ERROR, varve_vm_read_overwrite(task, address + PAGE, 1, &byte, NULL));
    EXPECT(KERN_INVALID_OBJECT, read_page(object, 0));
    *at(address) = 6;
    EXPECT(VARVE_NOT_RETURNED, varve_commit(store, NULL, 0, NULL, NULL));
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    OK(varve_memory_object_terminate(object));
}

TEST(pages_that_are_not_taken_are_returned_again) {
    keeper_t *keeper = make_keeper();
    keeper->refusal = "the shelf is full";
    varve_object_t object = managed_object(keeper, 4, 0, 0);
    vm_address_t address = map_object(task, object, 4, 0), plain = map_object(task, object_of("plain", 1, 0), 1, 0);
    *at(address) = 5;
    *at(address + PAGE) = 6;
    *at(plain) = 7;
    EXPECT(VARVE_NOT_RETURNED, varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(error_has("the shelf is full"));
    unsigned char byte = 0;
    OK(varve_read(store, "plain", 0, &byte, 1, NULL));
    CHECK(byte == 7);
    *at(address) = 8;
    keeper->refusal = NULL;
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(keeper->pages[0] == 8 && keeper->pages[1] == 6);
    int returns = keeper->returns;
    OK(varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(keeper->returns == returns);
}

static const char *zeros(void *context, varve_object_t object, varve_request_t request, uint64_t offset, uint64_t size) {
    (void)context, (void)object, (void)offset, (void)size;
    varve_memory_object_data_unavailable(request);
    return NULL;
}

TEST(one_function_is_enough) {
    varve_manager_t manager = {.size = sizeof manager, .data_request = zeros};
    varve_object_t object = NULL;
    OK(varve_memory_object_create(store, 2 * PAGE, VM_PROT_ALL, &manager, NULL, &object));
    vm_address_t address = map_object(task, object, 2, 0);
    CHECK(*at(address + PAGE) == 0);
    *at(address) = 1;
    EXPECT(VARVE_NOT_RETURNED, varve_commit(store, NULL, 0, NULL, NULL));
    CHECK(error_has("takes no pages back"));
}
