#include <stdlib.h>
#include <string.h>

#include "link.h"

static void change_one(struct link *link, struct link_change change)
{
	switch (change.kind) {
	case LINK_CUT:
		link->cut = true;
		break;
	case LINK_HEAL:
		*link = (struct link){0};
		break;
	case LINK_DELAY:
		link->delay_ms = change.value;
		break;
	case LINK_LOSS:
		link->loss = change.value;
		break;
	}
}

static bool chosen(struct link_choice choice, int from, int to)
{
	if ((choice.from < 0 || choice.from == from) && (choice.to < 0 || choice.to == to))
		return true;
	if (choice.one_way)
		return false;
	return (choice.from < 0 || choice.from == to) && (choice.to < 0 || choice.to == from);
}

void links_change(struct links *links, struct link_choice choice, struct link_change change)
{
	for (size_t from = 0; from < links->ports; from++)
		for (size_t to = 0; to < links->ports; to++)
			if (from != to && chosen(choice, (int)from, (int)to))
				change_one(&links->from_to[from][to], change);
}

bool link_is_whole(const struct link *link)
{
	return !link->cut && link->delay_ms == 0 && link->loss == 0;
}

/* Reads decimal digits; returns what follows them, or NULL if there are none or too many. */
static const char *digits(const char *text, uint32_t *value)
{
	size_t count = strspn(text, "0123456789");
	if (count == 0 || count > 9)
		return NULL;
	*value = (uint32_t)strtoul(text, NULL, 10);
	return text + count;
}

bool link_parse_delay(const char *text, uint32_t *delay_ms)
{
	uint32_t value;
	const char *unit = digits(text, &value);
	if (!unit)
		return false;
	if (strcmp(unit, "s") == 0) {
		if (value > DELAY_MAX_MS / 1000)
			return false;
		value *= 1000;
	} else if (strcmp(unit, "ms") != 0 && strcmp(text, "0") != 0) {
		return false;
	}
	if (value > DELAY_MAX_MS)
		return false;
	*delay_ms = value;
	return true;
}

bool link_parse_loss(const char *text, uint32_t *loss)
{
	uint32_t percent;
	const char *rest = digits(text, &percent);
	if (!rest || percent > 100)
		return false;
	uint32_t value = percent * (LOSS_ALL / 100);
	if (*rest == '.') {
		uint32_t place = LOSS_ALL / 1000;
		size_t count = strspn(++rest, "0123456789");
		if (count == 0 || count > 4)
			return false;
		for (size_t i = 0; i < count; i++, place /= 10)
			value += (uint32_t)(rest[i] - '0') * place;
		rest += count;
	}
	if (strcmp(rest, "%") != 0 || value > LOSS_ALL)
		return false;
	*loss = value;
	return true;
}
