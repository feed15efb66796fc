/* interface FOLDER: runs every test in FOLDER and prints a line for each check that fails and for each test. */
#define _GNU_SOURCE
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>

enum { MOST = 256 };
static struct { const char *name; void (*run)(void); } tests[MOST];
static int count, failures;
static const char *folder;

varve_store_t store;
varve_task_t task;
vm_address_t base;

void add_test(const char *name, void (*run)(void)) {
    if (count == MOST) abort();
    tests[count].name = name;
    tests[count++].run = run;
}

void check(int holds, const char *file, int line, const char *text) {
    if (holds) return;
    failures++;
    printf("    %s:%d: %s\n", file, line, text);
}

void check_code(int wanted, int found, const char *file, int line, const char *text) {
    if (wanted == found) return;
    failures++;
    printf(
        "    %s:%d: %s is %s, not %s: %s\n", file, line, text, varve_code_name(found), varve_code_name(wanted),
        found ? varve_last_error()->text : "");
}

const char *path_of(const char *name) {
    static char path[4][4096];
    static int next;
    char *place = path[next++ % 4];
    snprintf(place, sizeof path[0], "%s/%s", folder, name);
    return place;
}

static const char *store_path(void) {
    static char name[32];
    static int number;
    snprintf(name, sizeof name, "%d.varve", number++);
    return path_of(name);
}

static char current[4096];

/* VARVE_TEST_MODE: how the stores are opened. */
static unsigned flags(void) {
    const char *mode = getenv("VARVE_TEST_MODE");
    if (mode && strcmp(mode, "signal") == 0) return VARVE_OPEN_TRACK_SIGNAL;
    if (mode && strcmp(mode, "copy") == 0) return VARVE_OPEN_COPY_ON_MAP | VARVE_OPEN_CHECK_ON_MAP;
    return VARVE_OPEN_WRITE;
}

static void open_store(void) {
    OK(varve_store_open(current, flags(), &store));
    OK(varve_task_attach(store, "main", &task));
    OK(varve_task_window(task, &base, NULL));
}

varve_store_t second_store(const char *name) {
    const uint64_t far = (uint64_t)1 << 44;
    varve_store_t other = NULL;
    OK(varve_store_create(path_of(name), 1 << 20, base < 3 * far ? base + far : base - far));
    OK(varve_store_open(path_of(name), flags(), &other));
    return other;
}

void reopen(void) {
    OK(varve_release(task));
    OK(varve_store_close(store));
    open_store();
}

varve_object_t object_of(const char *name, uint64_t pages, int filled) {
    varve_object_t object = NULL;
    OK(varve_object_create(store, name, pages * PAGE, VARVE_OBJECT_SHARED, NULL, &object));
    for (uint64_t page = 0; filled && page < pages; page++) {
        unsigned char byte = (unsigned char)(page + 1);
        OK(varve_write(store, name, page * PAGE, &byte, 1, NULL, NULL));
    }
    return object;
}

vm_address_t map_object(varve_task_t into, varve_object_t object, uint64_t pages, boolean_t copy) {
    vm_address_t address = 0;
    OK(varve_vm_map(
        into, &address, pages * PAGE, 0, 1, object, 0, copy, VM_PROT_DEFAULT, VM_PROT_ALL, VM_INHERIT_DEFAULT));
    return address;
}

vm_address_t allocate(uint64_t pages) {
    vm_address_t address = 0;
    OK(varve_vm_allocate(task, &address, pages * PAGE, 1));
    return address;
}

varve_region_info_t region_at(varve_task_t of, vm_address_t address, vm_address_t *start, vm_size_t *size) {
    varve_region_info_t info;
    memset(&info, 0, sizeof info);
    uint32_t filled = VARVE_REGION_INFO_COUNT;
    vm_size_t bytes = 0;
    OK(varve_vm_region(of, &address, &bytes, VARVE_REGION_INFO, &info, &filled, NULL));
    if (start) *start = address;
    if (size) *size = bytes;
    return info;
}

int is_mapped(varve_task_t of, vm_address_t address) {
    varve_region_info_t info;
    uint32_t filled = VARVE_REGION_INFO_COUNT;
    vm_size_t bytes = 0;
    vm_address_t start = address;
    return varve_vm_region(of, &start, &bytes, VARVE_REGION_INFO, &info, &filled, NULL) == KERN_SUCCESS && start <= address;
}

static sigjmp_buf back;
static volatile sig_atomic_t expected;

static void on_signal(int number) {
    if (!expected) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    siglongjmp(back, number);
}

static int raises(vm_address_t address, int stores) {
    int number = sigsetjmp(back, 1);
    if (number == 0) {
        expected = 1;
        if (stores) *at(address) = 1;
        else (void)*at(address);
    }
    expected = 0;
    return number;
}

int load_raises(vm_address_t address) { return raises(address, 0); }
int store_raises(vm_address_t address) { return raises(address, 1); }

int main(int arguments, char **argument) {
    if (arguments < 2) return 64;
    if (strcmp(argument[1], "--inherit") == 0) return inherit_and_look(arguments - 1, argument + 1);
    if (strcmp(argument[1], "--remote") == 0) return arguments > 2 ? attach_and_look(argument[2]) : 64;
    folder = argument[1];
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* Before the library: what it does not know of it hands on. */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);

    int failed = 0;
    for (int index = 0; index < count; index++) {
        if (arguments > 2 && strcmp(argument[2], tests[index].name) != 0) continue;
        failures = 0;
        strcpy(current, store_path());
        OK(varve_store_create(current, 1 << 20, 0));
        open_store();
        tests[index].run();
        OK(varve_store_close(store));
        printf("%s %s\n", failures ? "FAILED" : "ok", tests[index].name);
        failed += failures != 0;
    }
    return failed ? 1 : 0;
}
