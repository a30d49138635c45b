#include "services/nfs-clients/records.h"

#include <string.h>

/*
 * A slot: checksum of the rest (8 bytes), kind (8), then for epochs: turn, present, recovering (8
 * each); for a client: epoch (8), length of its name (8), the name.
 */
#define KIND_EPOCHS 0x3173686370656e73u /* "snepchs1" */
#define KIND_CLIENT 0x31746e65696c636eu /* "nclient1" */
#define AT_KIND	    8
#define AT_TURN	    16
#define AT_PRESENT  24
#define AT_RECOVER  32
#define AT_EPOCH    16
#define AT_LENGTH   24
#define AT_NAME	    32

#define FIRST_CLIENT 2 /* the slots before it hold the epochs */

static uint64_t get(const uint8_t *slot, size_t at)
{
	uint64_t value = 0;

	for (size_t i = 8; i-- > 0;)
		value = value << 8 | slot[at + i];
	return value;
}

static void put(uint8_t *slot, size_t at, uint64_t value)
{
	for (size_t i = 0; i < 8; i++)
		slot[at + i] = (uint8_t)(value >> (8 * i));
}

/* FNV-1a, 64 bits: it has to notice a write that was cut short, not an adversary. */
static uint64_t checksum(const uint8_t *slot)
{
	uint64_t hash = 14695981039346656037u;

	for (size_t i = 8; i < RECORDS_SLOT_BYTES; i++)
		hash = (hash ^ slot[i]) * 1099511628211u;
	return hash;
}

static uint8_t *slot_at(const struct records *records, int slot)
{
	return records->file + (size_t)slot * RECORDS_SLOT_BYTES;
}

static bool is_whole(const uint8_t *slot, uint64_t kind)
{
	return get(slot, AT_KIND) == kind && get(slot, 0) == checksum(slot);
}

static int write_epochs(struct records *records)
{
	records->turn++;
	int slot = (int)(records->turn % 2);
	uint8_t *at = slot_at(records, slot);

	memset(at, 0, RECORDS_SLOT_BYTES);
	put(at, AT_KIND, KIND_EPOCHS);
	put(at, AT_TURN, records->turn);
	put(at, AT_PRESENT, records->present);
	put(at, AT_RECOVER, records->recovering);
	put(at, 0, checksum(at));
	return slot;
}

void records_make(uint8_t *file)
{
	struct records records = {.file = file, .present = 1};

	memset(file, 0, RECORDS_BYTES);
	write_epochs(&records);
}

bool records_open(struct records *records, uint8_t *file)
{
	bool found = false;

	*records = (struct records){.file = file};
	for (int i = 0; i < FIRST_CLIENT; i++) {
		const uint8_t *slot = slot_at(records, i);
		if (!is_whole(slot, KIND_EPOCHS) || get(slot, AT_TURN) < records->turn)
			continue;
		records->turn = get(slot, AT_TURN);
		records->present = get(slot, AT_PRESENT);
		records->recovering = get(slot, AT_RECOVER);
		found = true;
	}
	return found && records->present > 0 && records->recovering < records->present;
}

/* A client of this epoch in the slot? */
static bool is_client(const struct records *records, int slot, uint64_t epoch)
{
	const uint8_t *at = slot_at(records, slot);

	return is_whole(at, KIND_CLIENT) && get(at, AT_EPOCH) == epoch && epoch != 0 &&
	       get(at, AT_LENGTH) > 0 && get(at, AT_LENGTH) <= RECORD_NAME_MAX;
}

static bool is_free(const struct records *records, int slot)
{
	return !is_client(records, slot, records->present) &&
	       !is_client(records, slot, records->recovering);
}

static int find(const struct records *records, uint64_t epoch, const uint8_t *name, size_t length)
{
	for (int i = FIRST_CLIENT; i < RECORDS_SLOTS; i++) {
		const uint8_t *at = slot_at(records, i);
		if (is_client(records, i, epoch) && get(at, AT_LENGTH) == length &&
		    memcmp(at + AT_NAME, name, length) == 0)
			return i;
	}
	return RECORDS_UNCHANGED;
}

int records_create(struct records *records, const uint8_t *name, size_t length)
{
	if (length == 0 || length > RECORD_NAME_MAX)
		return RECORDS_FULL;
	if (find(records, records->present, name, length) >= 0)
		return RECORDS_UNCHANGED;
	for (int i = FIRST_CLIENT; i < RECORDS_SLOTS; i++) {
		if (!is_free(records, i))
			continue;
		uint8_t *at = slot_at(records, i);
		memset(at, 0, RECORDS_SLOT_BYTES);
		put(at, AT_KIND, KIND_CLIENT);
		put(at, AT_EPOCH, records->present);
		put(at, AT_LENGTH, length);
		memcpy(at + AT_NAME, name, length);
		put(at, 0, checksum(at));
		return i;
	}
	return RECORDS_FULL;
}

int records_remove(struct records *records, const uint8_t *name, size_t length)
{
	int slot = find(records, records->present, name, length);

	if (slot >= 0)
		memset(slot_at(records, slot), 0, RECORDS_SLOT_BYTES);
	return slot;
}

/*
 * A start during grace: not all had reclaimed, so the epoch before stays the one that counts, and
 * the clients of the epoch that had just begun are let go of (they are none of either epoch any
 * more). They will reclaim, and be written, again.
 */
int records_grace_start(struct records *records)
{
	if (records->recovering == 0)
		records->recovering = records->present;
	records->present++;
	return write_epochs(records);
}

int records_grace_done(struct records *records)
{
	if (records->recovering == 0)
		return RECORDS_UNCHANGED;
	records->recovering = 0;
	return write_epochs(records);
}

const uint8_t *records_next(const struct records *records, int *slot, size_t *length)
{
	if (*slot < FIRST_CLIENT)
		*slot = FIRST_CLIENT;
	while (*slot < RECORDS_SLOTS) {
		int this = (*slot)++;
		if (!is_client(records, this, records->recovering))
			continue;
		*length = (size_t)get(slot_at(records, this), AT_LENGTH);
		return slot_at(records, this) + AT_NAME;
	}
	return NULL;
}

bool records_may_reclaim(const struct records *records, const uint8_t *name, size_t length)
{
	return find(records, records->recovering, name, length) >= 0;
}
