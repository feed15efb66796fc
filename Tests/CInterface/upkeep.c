/* Checking, repairing, freeing and keeping; why a page can't be had; programs that a task starts. */
#define _GNU_SOURCE
#include "check.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int count_findings(void *context, const varve_finding_t *finding) {
    (void)finding;
    ++*(int *)context;
    return 0;
}

TEST(verify_reports_and_counts) {
    object_of("a", 3, 1);
    int shown = 0;
    varve_verify_summary_t summary = {0};
    OK(varve_verify(store, count_findings, &shown, &summary));
    CHECK(shown == 0 && summary.findings == 0);
    OK(varve_verify(store, NULL, NULL, NULL));
    EXPECT(VARVE_INVALID, varve_verify(NULL, NULL, NULL, NULL));
}

TEST(repair_copies_what_is_intact) {
    varve_store_t other = second_store("broken.varve"), copy = NULL;
    varve_object_t object = NULL;
    unsigned char byte = 7, found = 0;
    OK(varve_object_create(other, "a", PAGE, VARVE_OBJECT_SHARED, NULL, &object));
    OK(varve_write(other, "a", 0, &byte, 1, NULL, NULL));
    EXPECT(VARVE_LOCKED, varve_repair(path_of("broken.varve"), path_of("locked.varve"), NULL, NULL, NULL));
    OK(varve_store_close(other));
    varve_repair_summary_t summary = {0};
    OK(varve_repair(path_of("broken.varve"), path_of("repaired.varve"), NULL, NULL, &summary));
    CHECK(summary.objects == 1 && summary.pages_lost == 0);
    OK(varve_store_open(path_of("repaired.varve"), VARVE_OPEN_WRITE, &copy));
    OK(varve_read(copy, "a", 0, &found, 1, NULL));
    CHECK(found == 7);
    OK(varve_store_close(copy));
    EXPECT(VARVE_STORE_EXISTS, varve_repair(path_of("broken.varve"), path_of("repaired.varve"), NULL, NULL, NULL));
}

TEST(reclaim_frees_what_retention_lets_go) {
    object_of("a", 8, 1);
    uint32_t versions = 0, seconds = 7;
    OK(varve_retain(store, 1, 0));
    OK(varve_retention(store, &versions, &seconds));
    CHECK(versions == 1 && seconds == 0);
    OK(varve_retention(store, NULL, NULL));
    for (int round = 0; round < 5; round++) {
        unsigned char byte = (unsigned char)round;
        OK(varve_write(store, "a", 0, &byte, 1, NULL, NULL));
    }
    reopen();
    varve_reclaim_report_t report = {0};
    OK(varve_reclaim(store, 1, &report));
    OK(varve_reclaim(store, 0, NULL));
    OK(varve_reclaim(store, 0, &report));
    CHECK(report.layers_dropped == 0);
}

TEST(the_last_fault_is_told) {
    varve_object_t object = object_of("a", 1, 1);
    vm_address_t address = map_object(task, object, 2, 0);
    varve_fault_t fault = {0};
    OK(varve_last_fault(task, address, &fault));
    CHECK(fault.code == KERN_SUCCESS && fault.reason[0] == 0);
    CHECK(load_raises(address + PAGE) != 0);
    OK(varve_last_fault(task, address + PAGE, &fault));
    CHECK(fault.code == KERN_MEMORY_ERROR && fault.offset == PAGE && strlen(fault.reason) > 0);
    EXPECT(KERN_INVALID_ARGUMENT, varve_last_fault(task, address, NULL));
    EXPECT(KERN_INVALID_TASK, varve_last_fault(NULL, address, &fault));
}

/* What the program does that the next test starts: 0 where it finds what it looks for. */
int inherit_and_look(int count, char **words) {
    if (count != 4) return 90;
    vm_address_t shared = strtoull(words[1], NULL, 10), copied = strtoull(words[2], NULL, 10), none = strtoull(words[3], NULL, 10);
    varve_task_t own = NULL, again = NULL;
    if (varve_task_inherited(&own)) return 91;
    if (varve_task_inherited(&again) != VARVE_WRONG_STATE) return 92;
    if (*at(shared) != 1 || *at(copied) != 2) return 93;
    *at(shared) = 11;
    *at(copied) = 12;
    if (varve_inherited_commit(own, "from the program", 0, NULL)) return 94;
    vm_address_t address = none, named = 0;
    varve_remote_t remote = NULL;
    varve_object_t object = NULL;
    if (varve_vm_allocate(own, &address, PAGE, FIXED)) return 95;
    if (varve_remote_of(own, &remote) || varve_remote_object(remote, "named", VM_PROT_READ, &object)) return 103;
    if (varve_vm_map(own, &named, PAGE, 0, ANYWHERE, object, 0, 0, 1, 1, 1) || *at(named) != 1) return 104;
    *at(address) = 3;
    if (varve_vm_protect(own, address, PAGE, 0, VM_PROT_READ) || varve_vm_inherit(own, address, PAGE, VM_INHERIT_NONE)) return 96;
    if (varve_vm_deallocate(own, address, PAGE)) return 97;
    if (varve_vm_copy(own, shared, 1, copied) != KERN_NOT_SUPPORTED) return 98;
    if (varve_vm_inherit(own, shared, 0, 9) != KERN_INVALID_ARGUMENT || varve_vm_allocate(own, NULL, PAGE, 1) != KERN_INVALID_ARGUMENT) return 100;
    if (varve_task_terminate(own) || varve_vm_allocate(own, &address, PAGE, ANYWHERE) != KERN_TERMINATED) return 99;
    /* The task comes first in the order of checks. */
    if (varve_vm_allocate(own, NULL, PAGE, 1) != KERN_TERMINATED || varve_vm_inherit(own, shared, 0, 9) != KERN_TERMINATED) return 101;
    if (varve_vm_map(own, NULL, PAGE, 0, 1, NULL, 0, 0, 9, 9, 9) != KERN_TERMINATED) return 102;
    return varve_release(own) ? 89 : 0;
}

TEST(a_program_has_the_memory_of_the_task_that_started_it) {
    vm_address_t shared = allocate(1), copied = allocate(1), none = allocate(1);
    object_of("named", 1, 1);
    OK(varve_vm_inherit(task, shared, PAGE, VM_INHERIT_SHARE));
    OK(varve_vm_inherit(task, none, PAGE, VM_INHERIT_NONE));
    *at(shared) = 1;
    *at(copied) = 2;
    char numbers[3][32];
    vm_address_t addresses[3] = {shared, copied, none};
    const char *arguments[5] = {"--inherit"};
    for (int i = 0; i < 3; i++) {
        snprintf(numbers[i], sizeof numbers[i], "%llu", (unsigned long long)addresses[i]);
        arguments[i + 1] = numbers[i];
    }
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(length > 0);
    self[length > 0 ? length : 0] = 0;
    int process = 0, status = -1;
    OK(varve_task_spawn(task, self, arguments, NULL, NULL, 0, &process));
    CHECK(waitpid(process, &status, 0) == process && WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    if (WEXITSTATUS(status)) printf("    the program ended with %d\n", WEXITSTATUS(status));
    CHECK(*at(shared) == 11 && *at(copied) == 2);
    EXPECT(KERN_INVALID_ARGUMENT, varve_task_spawn(task, "/no/such/program", NULL, NULL, NULL, 0, &process));
    EXPECT(KERN_INVALID_ARGUMENT, varve_task_spawn(task, NULL, NULL, NULL, NULL, 0, &process));
    varve_task_t own = NULL;
    EXPECT(VARVE_NOT_FOUND, varve_task_inherited(&own));
}
