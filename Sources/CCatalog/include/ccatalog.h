#ifndef CCATALOG_H
#define CCATALOG_H

#include <stdbool.h>
#include <stdint.h>

/* What SQLite asks for in C: a layer between it and the file (a VFS) that keeps a checksum at the end of each page of a catalog.

   A catalog has pages of CC_PAGE bytes, of which SQLite leaves the last CC_RESERVED alone. They hold XXH3 (64 bits,
   little-endian) of the bytes before them, seeded with the page's number, 1 the first. A page of zeros throughout has none: SQLite need not
   write a page that it frees in the transaction that took it, and the file has a hole there. Journals have SQLite's own checksums.

   Catalogs of format 1 have no checksums and are left as they are: a file has them where it is new, or its header has CC_RESERVED
   as its reserved bytes or a later format as its user_version. */

#define CC_PAGE 4096
#define CC_RESERVED 8

/* The layer's name, for the `vfs` of a URI; registered at the first call, NULL where SQLite refuses it. Any thread. */
const char *cc_layer(void);

/* Leaves room for checksums in the database that the connection makes, or makes anew with VACUUM. An error code of SQLite's. */
int cc_reserve(void *connection);

/* Whether the connection's file, opened through the layer, has checksums. */
bool cc_is_checked(void *connection);

/* Looks at each page of the connection's file and stores the numbers of those that are not as they were written, at most `room`.
   Inside a transaction, which keeps others from writing. An error code of SQLite's for what could not be read at all. */
int cc_damaged_pages(void *connection, uint32_t *numbers, uint32_t room, uint32_t *count);

/* The page that the calling thread last found damaged; 0: none yet. */
uint32_t cc_last_damaged(void);

#endif
