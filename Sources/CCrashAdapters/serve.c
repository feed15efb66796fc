#define _GNU_SOURCE
#include "crash_adapters.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// The parent stays as it was when it was ready: it opens no store and starts no thread, so that each child begins fresh.

#define MOST_WORDS 16
#define LIMIT_SECONDS 30

static int redirect(const char *path, int target) {
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || dup2(fd, target) < 0) return -1;
    return fd == target ? 0 : close(fd);
}

static int begin(char **words, int count, crash_work run) {
    char errors[4096];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == 1) return 71;
    if ((size_t)snprintf(errors, sizeof errors, "%s.errors", words[3]) >= sizeof errors) return 71;
    int input = open("/dev/null", O_RDONLY);
    if (input < 0 || dup2(input, 0) < 0 || redirect(words[3], 1) || redirect(errors, 2)) return 71;
    for (int i = 5; i < count; i++) {
        char *value = strchr(words[i], '=');
        if (!value) return 64;
        *value = 0;
        if (setenv(words[i], value + 1, 1)) return 71;
    }
    // What is loaded before the C library read its settings before there were any.
    void (*arm)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "varve_crash_begin");
    if (arm) arm();
    return run(words[0], words[1], words[2]);
}

/// Whether the child ended within so many microseconds.
static int ended_within(int process, long microseconds) {
    struct timespec time = {microseconds / 1000000, microseconds % 1000000 * 1000};
    struct pollfd wait = {process, POLLIN, 0};
    int result;
    while ((result = ppoll(&wait, 1, &time, NULL)) < 0 && errno == EINTR) {}
    return result > 0;
}

static int answer(char **words, int count, crash_work run) {
    long microseconds = atol(words[4]);
    pid_t pid = fork();
    if (pid == 0) exit(begin(words, count, run));
    if (pid < 0) return printf("no process: %s\n", strerror(errno)) < 0;
    int status, process = (int)syscall(SYS_pidfd_open, pid, 0), hangs = 0;
    if (process < 0) return 71;
    if (!ended_within(process, microseconds ? microseconds : LIMIT_SECONDS * 1000000L)) {
        hangs = microseconds == 0;
        kill(pid, SIGKILL);
    }
    close(process);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (hangs) printf("hang\n");
    else if (WIFSIGNALED(status)) printf("signal %d\n", WTERMSIG(status));
    else printf("exit %d\n", WEXITSTATUS(status));
    return fflush(stdout) != 0;
}

int crash_serve(crash_work run) {
    char line[16384], *words[MOST_WORDS];
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        int count = 0;
        for (char *word = strtok(line, " \n"); word && count < MOST_WORDS; word = strtok(NULL, " \n")) words[count++] = word;
        if (count < 5) return 64;
        int status = answer(words, count, run);
        if (status) return status;
    }
    return 0;
}

static char *const *program;
static int program_words;

static int replace(const char *verb, const char *folder, const char *seed) {
    char *arguments[program_words + 4];
    memcpy(arguments, program, (size_t)program_words * sizeof *arguments);
    arguments[program_words] = (char *)verb;
    arguments[program_words + 1] = (char *)folder;
    arguments[program_words + 2] = strcmp(verb, "work") == 0 ? (char *)seed : NULL;
    arguments[program_words + 3] = NULL;
    execvp(arguments[0], arguments);
    return 127;
}

int crash_serve_program(int count, char *const *words) {
    program = words;
    program_words = count;
    return crash_serve(replace);
}

static const char *served_store;

static int perform(const char *verb, const char *folder, const char *seed) {
    const char *arguments[] = {verb, folder, seed};
    return crash_adapter_run(served_store, strcmp(verb, "work") == 0 ? 3 : 2, arguments);
}

int crash_serve_store(const char *store) {
    served_store = store;
    return crash_serve(perform);
}
