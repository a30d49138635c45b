/*
 * The names of an NFS server's clients, so written that a crash at any moment loses none that was
 * acknowledged: the table behind the kernel's questions of linux/nfsd/cld.h. Pure: a picture of the
 * file in memory; the caller writes the one slot that an operation changed, and waits until it is
 * on disk, before it answers.
 *
 * Two epochs live side by side. The present one holds who may reclaim after the next start; from a
 * start until its grace period is over, the one before holds who may reclaim now. A start during
 * grace keeps the older, complete one.
 *
 * The file: RECORDS_SLOTS slots. Slots 0 and 1 hold the epochs, written in turn, so that one is
 * whole whenever writing the other was cut short; each other slot holds one client of one epoch.
 * Every slot carries a checksum; one that does not match is free. Numbers are little-endian.
 */
#ifndef SUPERVISOR_SERVICES_NFS_CLIENTS_RECORDS_H
#define SUPERVISOR_SERVICES_NFS_CLIENTS_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_NAME_MAX	   1024 /* NFS4_OPAQUE_LIMIT: a client's name is any bytes */
#define RECORDS_SLOT_BYTES 2048
#define RECORDS_SLOTS	   256
#define RECORDS_BYTES	   ((size_t)RECORDS_SLOTS * RECORDS_SLOT_BYTES)

#define RECORDS_UNCHANGED (-1) /* nothing to write */
#define RECORDS_FULL	  (-2)

struct records {
	uint8_t *file;			    /* RECORDS_BYTES, the caller's */
	uint64_t turn, present, recovering; /* recovering 0: no grace period */
};

/* A new file without clients. */
void records_make(uint8_t *file);
/* Reads what the file holds; keeps the pointer. False: this is no file of records. */
bool records_open(struct records *records, uint8_t *file);

/* Each returns the number of the slot that it changed, or one of the two above. */
int records_create(struct records *records, const uint8_t *name, size_t length);
int records_remove(struct records *records, const uint8_t *name, size_t length);
int records_grace_start(struct records *records);
int records_grace_done(struct records *records);

/* Who may reclaim: the next name from *slot on (begin with 0), NULL after the last. */
const uint8_t *records_next(const struct records *records, int *slot, size_t *length);
bool records_may_reclaim(const struct records *records, const uint8_t *name, size_t length);

#endif
