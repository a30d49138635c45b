#include "src/control/serve_reload.h"

#include <stdio.h>

#include "src/supervise/reload.h"

static size_t findings_kept(const struct config_report *report)
{
	return report->count < CONFIG_FINDINGS_MAX ? report->count : CONFIG_FINDINGS_MAX;
}

size_t reload_records(void)
{
	const struct reload_outcome *outcome = reload_outcome();

	/* Each finding; or each change, and how many services there is nothing to say of. */
	return outcome->findings.count ? findings_kept(&outcome->findings) : outcome->count + 1;
}

void reload_record(struct control_record *record, size_t number)
{
	const struct reload_outcome *outcome = reload_outcome();
	struct control_change *out = &record->change;

	record->type = CONTROL_CHANGE_RECORD;
	if (number < findings_kept(&outcome->findings)) {
		snprintf(out->what, sizeof(out->what), "refused");
		snprintf(out->text, sizeof(out->text), "%s", outcome->findings.finding[number]);
	} else if (number < outcome->count) {
		snprintf(out->what, sizeof(out->what), "%s",
			 reload_change_name(outcome->line[number].what));
		snprintf(out->text, sizeof(out->text), "%s", outcome->line[number].name);
	} else {
		snprintf(out->what, sizeof(out->what), "kept");
		out->number = (uint32_t)outcome->kept;
	}
}
