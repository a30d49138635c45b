#include "services/dlm/view.h"

static void act(struct view_actions *actions, enum view_do what, uint8_t members)
{
	if (actions->count < VIEW_ACTIONS_MAX) {
		actions->action[actions->count].what = what;
		actions->action[actions->count].members = members;
		actions->count++;
	}
}

static bool same_view(const struct view *a, const struct view *b)
{
	return a->number == b->number && a->phase == b->phase && a->base == b->base &&
	       a->members == b->members;
}

static bool is_newer(const struct view *a, const struct view *b)
{
	return a->number > b->number || (a->number == b->number && a->phase > b->phase);
}

static uint8_t coordinator(const struct view *view)
{
	const uint8_t members = view->phase == VIEW_STOP ? view->base : view->members;
	return members == VIEW_HIGH ? VIEW_HIGH : VIEW_LOW;
}

/* Makes `view` the present one, here. */
static void apply(struct view_machine *m, struct view view, struct view_actions *actions)
{
	m->view = view;
	if (view.phase == VIEW_STOP) {
		if (m->running)
			act(actions, VIEW_DO_STOP, 0);
		m->running = false;
	} else if (view.members & m->self) {
		act(actions, VIEW_DO_START, view.members);
		if (!m->member)
			act(actions, VIEW_DO_JOINED, 0);
		m->member = m->running = true;
	} else if (m->member) {
		act(actions, VIEW_DO_LEFT, 0);
		m->member = m->running = false;
	}
}

/* A view that needs no consent: the next number, started at once. */
static void apply_alone(struct view_machine *m, uint8_t members, struct view_actions *actions)
{
	const struct view next = {m->view.number + 1, VIEW_START, members, members};

	if (m->running && (members & m->self)) {
		act(actions, VIEW_DO_STOP, 0);
		m->running = false;
	}
	apply(m, next, actions);
}

/* The peer is ahead: follow, if that is what could have happened. */
static void follow(struct view_machine *m, struct view_actions *actions)
{
	const struct view *next = &m->peer_view;
	const bool listed = (next->members & m->self) != 0;

	if (next->number == m->view.number) { /* our STOP, now its START */
		if (next->base != m->view.base || next->members != m->view.members)
			act(actions, VIEW_DO_BREAK, 0);
		else
			apply(m, *next, actions);
		return;
	}
	if (next->phase == VIEW_STOP && next->number == m->view.number + 1 &&
	    m->view.phase == VIEW_START && next->base == m->view.members) {
		if (listed && !m->want && !m->member) /* a wish that this node never had */
			act(actions, VIEW_DO_BREAK, 0);
		else
			apply(m, *next, actions);
		return;
	}
	/*
	 * Changes were made without asking this node. That is the peer's right as long as this node
	 * is no member, or has stopped in order to leave.
	 */
	const bool leaving = m->view.phase == VIEW_STOP && !(m->view.members & m->self);
	if (m->member && (!leaving || listed))
		act(actions, VIEW_DO_EXCLUDED, 0);
	else if (next->phase == VIEW_START ? listed
					   : (next->base & m->self) || (listed && !m->want))
		act(actions, VIEW_DO_BREAK, 0);
	else
		apply(m, *next, actions);
}

bool view_is_halted(const struct view_machine *m)
{
	return m->member && !m->running && m->view.phase == VIEW_START;
}

/* What a node may do by itself. */
static bool advance_alone(struct view_machine *m, struct view_actions *actions)
{
	const bool peer_matters = m->peer != 0 && !m->peer_dead;

	if (m->view.phase == VIEW_STOP) {
		/* Only the coordinator knows that nobody has started the new view yet. */
		if (!peer_matters ||
		    ((m->view.base & m->peer) == 0 && coordinator(&m->view) == m->self)) {
			apply_alone(m, m->view.base & m->self, actions);
			return true;
		}
		return false;
	}
	if (m->view.members == m->self && m->want && view_is_halted(m)) {
		apply_alone(m, m->self, actions);
		return true;
	}
	if (m->view.members == m->self && !m->want) {
		apply_alone(m, 0, actions);
		return true;
	}
	if (m->view.members == 0 && m->want && !peer_matters) {
		apply_alone(m, m->self, actions);
		return true;
	}
	return false;
}

/* One step with the peer's help. */
static bool advance_together(struct view_machine *m, struct view_actions *actions)
{
	if (!m->peer_shown)
		return false;
	if (is_newer(&m->peer_view, &m->view)) {
		const size_t before = actions->count;
		follow(m, actions);
		const bool refused = actions->count > before &&
				     actions->action[actions->count - 1].what >= VIEW_DO_EXCLUDED;
		if (refused)
			m->peer_shown = false;
		return !refused;
	}
	if (m->peer_view.number == m->view.number && m->peer_view.phase == m->view.phase &&
	    !same_view(&m->peer_view, &m->view)) {
		m->peer_shown = false;
		act(actions, VIEW_DO_BREAK, 0);
		return false;
	}
	if (coordinator(&m->view) != m->self || !same_view(&m->peer_view, &m->view))
		return false;
	struct view next = m->view;
	if (m->view.phase == VIEW_STOP) {
		next.phase = VIEW_START;
	} else {
		const uint8_t desired =
			(uint8_t)((m->want ? m->self : 0u) | (m->peer_want ? m->peer : 0u));
		if (desired == m->view.members && !m->peer_halted && !view_is_halted(m))
			return false;
		next = (struct view){m->view.number + 1, VIEW_STOP, m->view.members, desired};
	}
	apply(m, next, actions);
	return true;
}

static void advance(struct view_machine *m, struct view_actions *actions)
{
	if (m->connected) {
		while (advance_together(m, actions))
			act(actions, VIEW_DO_SEND, 0);
	} else {
		while (advance_alone(m, actions))
			;
	}
}

void view_init(struct view_machine *m, uint8_t self, uint8_t peer)
{
	const struct view empty = {0, VIEW_START, 0, 0};

	*m = (struct view_machine){.self = self, .peer = peer, .view = empty};
}

void view_resume(struct view_machine *m, const struct view *view, bool want)
{
	/* A joiner is a member once the view has started, a leaver until then. */
	const uint8_t members = view->phase == VIEW_STOP ? view->base : view->members;

	m->view = *view;
	m->want = want;
	m->member = (members & m->self) != 0;
}

void view_want(struct view_machine *m, bool want, struct view_actions *actions)
{
	m->want = want;
	if (m->connected)
		act(actions, VIEW_DO_SEND, 0);
	advance(m, actions);
}

void view_connected(struct view_machine *m, struct view_actions *actions)
{
	m->connected = true;
	m->peer_shown = false;
	m->peer_dead = false;
	act(actions, VIEW_DO_SEND, 0);
}

void view_disconnected(struct view_machine *m, struct view_actions *actions)
{
	m->connected = false;
	m->peer_shown = false;
	advance(m, actions);
}

void view_peer_dead(struct view_machine *m, struct view_actions *actions)
{
	const uint8_t members = m->view.phase == VIEW_STOP ? m->view.base : m->view.members;

	m->connected = false;
	m->peer_shown = false;
	m->peer_dead = true;
	if (m->running) {
		act(actions, VIEW_DO_STOP, 0);
		m->running = false;
	}
	act(actions, VIEW_DO_FORGET_PEER, 0);
	if ((members & m->peer) || m->view.phase == VIEW_STOP || m->member)
		apply_alone(m, members & m->self, actions);
	advance(m, actions);
}

void view_shown(struct view_machine *m, const struct view *view, bool want, bool halted,
		struct view_actions *actions)
{
	if (!m->connected)
		return;
	m->peer_view = *view;
	m->peer_want = want;
	m->peer_halted = halted;
	m->peer_shown = true;
	advance(m, actions);
}
