/* Setters of the keys that say how much of the machine a service's processes get. */
#include "src/config/service_keys.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define PRIORITY_MAX  99     /* of SCHED_FIFO and SCHED_RR */
#define WEIGHT_MAX    10000  /* of cpu.weight and io.weight */
#define PERCENT_MAX   100000 /* a thousand processors */
#define PERIOD_US     100000 /* of cpu-max = PERCENT%: the kernel's own default */
#define PERIOD_MAX_MS 1000   /* the kernel's */
#define PROCESSORS    ((int)(8 * sizeof(cpu_set_t))) /* musl's CPU_SETSIZE is something else */
#define IO_LEVELS     8				     /* of a class of ioprio_set(2) */
#define IO_SHIFT      13			     /* IOPRIO_CLASS_SHIFT of linux/ioprio.h */

bool key_scheduling(struct service_reader *reader, const struct place *place,
		    const struct words *words, void *field)
{
	static const struct {
		const char *name;
		int policy;
		bool priority;
	} policies[] = {{"other", SCHED_OTHER, false},
			{"batch", SCHED_BATCH, false},
			{"idle", SCHED_IDLE, false},
			{"fifo", SCHED_FIFO, true},
			{"rr", SCHED_RR, true}};
	struct process_share *share = field;
	int64_t priority = 0;
	(void)reader;
	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (strcmp(policies[i].name, words->word[0]) != 0 ||
		    words->count < (policies[i].priority ? 2 : 1) ||
		    words->count > (policies[i].priority ? 3 : 1))
			continue;
		if (words->count == 3 && strcmp(words->word[2], "optional") != 0)
			return place_expected(place, words->word[2], "optional");
		if (policies[i].priority &&
		    !value_number(place, words->word[1], 1, PRIORITY_MAX, &priority))
			return false;
		share->scheduling = policies[i].policy;
		share->scheduling_priority = (int)priority;
		share->scheduling_optional = words->count == 3;
		return true;
	}
	return place_expected(place, words->word[0],
			      "other, batch, idle, fifo PRIORITY or rr PRIORITY");
}

/* "3" or "3-5". */
static bool cpu_range(const char *word, int64_t *first, int64_t *last)
{
	char number[24];
	const char *dash = strchr(word, '-');
	size_t length = dash ? (size_t)(dash - word) : strlen(word);
	if (length >= sizeof(number))
		return false;
	memcpy(number, word, length);
	number[length] = '\0';
	if (!number_in(number, 0, PROCESSORS - 1, first))
		return false;
	*last = *first;
	return !dash || (number_in(dash + 1, 0, PROCESSORS - 1, last) && *last >= *first);
}

bool key_cpu_affinity(struct service_reader *reader, const struct place *place,
		      const struct words *words, void *field)
{
	cpu_set_t *set = field;
	(void)reader;
	for (size_t i = 0; i < words->count; i++) {
		int64_t first, last;
		if (!cpu_range(words->word[i], &first, &last))
			return place_expected(place, words->word[i],
					      "a processor from 0 to %d, or a range such as 2-5",
					      PROCESSORS - 1);
		for (size_t cpu = (size_t)first; cpu <= (size_t)last; cpu++)
			CPU_SET(cpu, set);
	}
	return true;
}

bool key_weight(struct service_reader *reader, const struct place *place, const struct words *words,
		void *field)
{
	int64_t weight;
	(void)reader;
	if (!value_number(place, words->word[0], 1, WEIGHT_MAX, &weight))
		return false;
	*(uint32_t *)field = (uint32_t)weight;
	return true;
}

/* "50%" of one processor. */
static bool percent(const char *word, int64_t *value)
{
	char number[24];
	size_t length = strlen(word);
	if (length < 2 || length > sizeof(number) || word[length - 1] != '%')
		return false;
	memcpy(number, word, length - 1);
	number[length - 1] = '\0';
	return number_in(number, 1, PERCENT_MAX, value);
}

bool key_cpu_max(struct service_reader *reader, const struct place *place,
		 const struct words *words, void *field)
{
	struct process_share *share = field;
	int64_t value;
	uint32_t quota_ms, period_ms;
	(void)reader;
	if (words->count == 1 && percent(words->word[0], &value)) {
		share->cpu_quota_us = (uint32_t)(value * (PERIOD_US / 100));
		share->cpu_period_us = PERIOD_US;
		return true;
	}
	if (words->count != 2)
		return place_expected(place, words->count > 0 ? words->word[0] : "",
				      "50%% of one processor, or QUOTA PERIOD such as 20ms 100ms");
	if (!value_duration(place, words->word[0], &quota_ms) ||
	    !value_duration(place, words->word[1], &period_ms))
		return false;
	if (quota_ms == 0)
		return place_expected(place, words->word[0], "a duration such as 20ms");
	if (period_ms == 0 || period_ms > PERIOD_MAX_MS)
		return place_expected(place, words->word[1], "a period from 1ms to 1s");
	if (quota_ms > UINT32_MAX / 1000)
		return place_expected(place, words->word[0], "a quota of at most 1h");
	share->cpu_quota_us = quota_ms * 1000;
	share->cpu_period_us = period_ms * 1000;
	return true;
}

bool key_io_class(struct service_reader *reader, const struct place *place,
		  const struct words *words, void *field)
{
	/* The classes count from 1 (IOPRIO_CLASS_RT); idle has no levels. */
	static const char *const classes[] = {"realtime", "best-effort", "idle"};
	(void)reader;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		bool levels = i < 2;
		int64_t level = 0;
		if (strcmp(classes[i], words->word[0]) != 0 || words->count != (levels ? 2 : 1))
			continue;
		if (levels && !value_number(place, words->word[1], 0, IO_LEVELS - 1, &level))
			return false;
		*(int *)field = (int)((i + 1) << IO_SHIFT) | (int)level;
		return true;
	}
	return place_expected(place, words->word[0], "realtime LEVEL, best-effort LEVEL or idle");
}
