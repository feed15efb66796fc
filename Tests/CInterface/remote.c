/* Stores that another process serves: here by a program that this one starts, and by this one itself. */
#define _GNU_SOURCE
#include "check.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the program does that the next test starts: 0 where it finds what it looks for. */
int attach_and_look(const char *path) {
    varve_remote_t remote = NULL;
    varve_object_t object = NULL, reading = NULL;
    varve_task_t own = NULL;
    vm_address_t address = 0, copy = 0, second = 0;
    uint64_t version = 0, again = 0;
    if (varve_remote_connect(path, 0, &remote)) return 90;
    if (varve_remote_object(remote, "counters", VM_PROT_DEFAULT, &object)) return 91;
    if (varve_remote_object(remote, "counters", VM_PROT_READ, &reading)) return 92;
    if (varve_remote_object(remote, "nothing", VM_PROT_READ, &reading) != VARVE_NOT_FOUND) return 93;
    if (varve_remote_task(remote, 0, &own)) return 94;
    if (varve_vm_map(own, &address, 2 * PAGE, 0, ANYWHERE, object, 0, 0, 3, 3, 1)) return 95;
    if (*at(address) != 1 || *at(address + PAGE) != 50) return 96;
    if (varve_vm_map(own, &copy, 2 * PAGE, 0, ANYWHERE, object, 0, 1, 3, 3, 1)) return 97;
    if (varve_vm_map(own, &second, PAGE, 0, ANYWHERE, reading, 0, 0, 1, 3, 1) != KERN_PROTECTION_FAILURE) return 98;
    *at(address) = 60;
    *at(copy) = 61;
    if (varve_remote_commit(remote, "from afar", 0, &version)) return 99;
    *at(address) = 62;
    if (varve_remote_snapshot(remote, "afar", NULL, &again) || again <= version) return 100;
    if (varve_remote_snapshot(remote, "afar", NULL, NULL) != VARVE_EXISTS) return 101;
    if (*at(copy + PAGE) != 50) return 102;
    return varve_remote_close(remote) ? 103 : 0;
}

TEST(attached_processes_share_objects_and_commit_together) {
    varve_store_t other = second_store("attached.varve");
    varve_task_t main_task = NULL;
    varve_object_t object = NULL;
    OK(varve_object_create(other, "counters", 2 * PAGE, VARVE_OBJECT_SHARED, NULL, &object));
    OK(varve_write(other, "counters", 0, "\1", 1, NULL, NULL));
    OK(varve_task_attach(other, "main", &main_task));
    vm_address_t address = 0;
    OK(varve_vm_map(main_task, &address, 2 * PAGE, 0, ANYWHERE, object, 0, 0, 3, 7, 1));
    *at(address + PAGE) = 50;
    fflush(stdout);
    const char *path = path_of("attached.varve");
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "interface", "--remote", path, (char *)NULL);
        _exit(89);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    if (WEXITSTATUS(status)) printf("    the program ended with %d\n", WEXITSTATUS(status));
    CHECK(*at(address) == 62);
    unsigned char bytes[PAGE + 1];
    OK(varve_read(other, "counters@afar", 0, bytes, sizeof bytes, NULL));
    CHECK(bytes[0] == 62 && bytes[PAGE] == 50);
    OK(varve_store_close(other));
}

TEST(a_task_of_a_served_store) {
    varve_store_t other = second_store("served.varve"), none = NULL;
    varve_object_t object = NULL, served = NULL, local = object_of("o", 1, 0);
    varve_remote_t remote = NULL, same = NULL;
    varve_task_t own = NULL;
    vm_address_t window = 0, address = 0, at_object = 0;
    vm_size_t window_size = 0;
    uint64_t number = 0, told = 0;
    boolean_t connected = 0;
    OK(varve_serve(other, VARVE_SERVE_OWNER));
    EXPECT(VARVE_INVALID, varve_serve(other, 7));
    EXPECT(VARVE_INVALID, varve_serve(NULL, VARVE_SERVE_OWNER));
    OK(varve_object_create(other, "a", PAGE, VARVE_OBJECT_SHARED, NULL, &object));
    OK(varve_object_number(object, &number));
    OK(varve_remote_connect(path_of("served.varve"), 30000, &remote));
    OK(varve_remote_object(remote, "a", VM_PROT_DEFAULT, &served));
    OK(varve_object_number(served, &told));
    CHECK(told == number);
    EXPECT(VARVE_INVALID, varve_remote_object(remote, "a", 8, &served));
    EXPECT(VARVE_INVALID, varve_remote_task(remote, 5, &own));
    OK(varve_remote_task(remote, 1 << 20, &own));
    OK(varve_task_window(own, &window, &window_size));
    CHECK(window_size == 1 << 20);
    OK(varve_vm_map(own, &at_object, PAGE, 0, ANYWHERE, served, 0, 0, 3, 3, VM_INHERIT_SHARE));
    *at(at_object) = 5;
    varve_region_info_t info = region_at(own, at_object, &address, NULL);
    CHECK(address == at_object && info.protection == 3 && info.shared);
    OK(varve_vm_allocate(own, &address, PAGE, ANYWHERE));
    OK(varve_vm_protect(own, address, PAGE, 0, VM_PROT_READ));
    CHECK(store_raises(address) == SIGSEGV);
    OK(varve_vm_inherit(own, address, PAGE, VM_INHERIT_NONE));
    OK(varve_vm_deallocate(own, address, PAGE));
    CHECK(!is_mapped(own, address));
    /* Objects of one side are none of the other's. */
    EXPECT(KERN_INVALID_OBJECT, varve_vm_map(own, &address, PAGE, 0, 1, local, 0, 0, 3, 3, 1));
    EXPECT(KERN_INVALID_OBJECT, varve_vm_map(task, &address, PAGE, 0, 1, served, 0, 0, 3, 3, 1));
    EXPECT(KERN_NOT_SUPPORTED, varve_vm_copy(own, at_object, 1, at_object));
    EXPECT(VARVE_INVALID, varve_inherited_commit(task, NULL, 0, NULL));
    EXPECT(VARVE_INVALID, varve_remote_commit(remote, NULL, VARVE_COMMIT_DECLARED, NULL));
    OK(varve_remote_commit(remote, NULL, VARVE_COMMIT_DEFERRED, NULL));
    OK(varve_flush(other));
    unsigned char byte = 0;
    OK(varve_read(other, "a", 0, &byte, 1, NULL));
    CHECK(byte == 5);
    OK(varve_remote_of(own, &same));
    EXPECT(VARVE_INVALID, varve_remote_of(task, &same));
    EXPECT(VARVE_INVALID, varve_release(remote));
    OK(varve_remote_is_connected(same, &connected));
    CHECK(connected == 1);
    /* The serving process goes: what is mapped stays. */
    OK(varve_store_close(other));
    int code = varve_remote_commit(remote, NULL, 0, NULL);
    CHECK(code == VARVE_IO || code == VARVE_UNKNOWN_OUTCOME);
    EXPECT(VARVE_IO, varve_remote_commit(remote, NULL, 0, NULL));
    OK(varve_remote_is_connected(same, &connected));
    CHECK(connected == 0 && *at(at_object) == 5);
    OK(varve_task_terminate(own));
    EXPECT(KERN_TERMINATED, varve_vm_allocate(own, &address, PAGE, 1));
    EXPECT(KERN_TERMINATED, varve_vm_map(own, &address, PAGE, 0, 1, local, 0, 0, 9, 3, 1));
    uint32_t count = 0;
    EXPECT(KERN_TERMINATED, varve_vm_region(own, &address, &window_size, VARVE_REGION_INFO, &info, &count, NULL));
    OK(varve_release(own));
    OK(varve_release(served));
    OK(varve_remote_close(remote));
    OK(varve_remote_close(same));
    EXPECT(VARVE_INVALID, varve_remote_close(same));
    EXPECT(VARVE_NO_STORE, varve_remote_connect(path_of("served.varve"), 0, &remote));
    EXPECT(VARVE_NO_STORE, varve_remote_connect(path_of("nothing"), 0, &remote));
    EXPECT(VARVE_INVALID, varve_remote_connect(NULL, 0, &remote));
    OK(varve_store_open(path_of("served.varve"), VARVE_OPEN_READ, &none));
    EXPECT(VARVE_LOCKED, varve_serve(none, VARVE_SERVE_OWNER));
    OK(varve_store_close(none));
}
