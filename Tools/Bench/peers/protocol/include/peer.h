#ifndef VARVE_BENCH_PEER_H
#define VARVE_BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>

#define PEER_PAGE_BYTES 4096

#ifdef __cplusplus
#define PEER_NORETURN [[noreturn]]
#else
#define PEER_NORETURN _Noreturn
#endif

/// What an engine does; the protocol, the clock and the contents are the same for all (peer_main).
///
/// A callback that fails says why on stderr and ends the process: see peer_fail.
struct peer_engine {
    /// Handed to every callback.
    void *context;

    /// Makes an object of `pages` pages in the folder `dir`, each page filled by peer_fill, and leaves it
    /// durable and, where the engine has a memory of its own, resident.
    void (*prepare)(void *context, const char *dir, uint32_t pages);

    /// The timed part: stores `count` whole pages and returns when they are durable.
    /// `page` is in ascending order without repeats; `content` is page-aligned, PEER_PAGE_BYTES a page.
    void (*commit)(void *context, const uint32_t *page, const uint8_t *content, size_t count);

    /// Releases what the engine holds.
    void (*finish)(void *context);
};

/// Serves the protocol on stdin and stdout until `quit` or the end of the input.
int peer_main(const struct peer_engine *engine, const char *dir, uint64_t object_bytes, uint64_t seed);

/// Reads `DIR OBJECT_BYTES SEED` from the command line and calls peer_main.
int peer_main_arguments(const struct peer_engine *engine, int argc, char **argv);

/// Fills whole pages with fresh bytes that do not compress.
void peer_fill(uint8_t *bytes, size_t length);

/// Prints `what` and the error of `code` (errno when it is 0) on stderr and ends the process.
PEER_NORETURN void peer_fail(const char *what, int code);

/// Prints `what` and `message` on stderr and ends the process.
PEER_NORETURN void peer_fail_message(const char *what, const char *message);

/// `dir/name`, to be freed by the caller.
char *peer_path(const char *dir, const char *name);

/// Page-aligned memory, to be freed by the caller.
uint8_t *peer_buffer(size_t length);

/// Creates `path`, writes `length` bytes of peer_fill to it and flushes them; a descriptor opened with `flags`
/// besides O_RDWR | O_CREAT.
int peer_filled_file(const char *path, uint64_t length, int flags);

#endif
