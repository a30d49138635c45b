<?php
/*
 * A lock that is kept while the file server goes away and comes back. What happened is told by the order of lines in a journal on the share.
 *
 *   ?do=reset       empty files
 *   ?do=keep&s=N    take the lock, write "NODE has it", write a byte again and again for N seconds, write "NODE lets go", unlock
 *   ?do=holding     whether the journal says that somebody has it
 *   ?do=take        wait for the lock, write "NODE has it", unlock
 */
function path(string $name): string
{
	return __DIR__ . "/keep-$name";
}

function journal(string $line): void
{
	file_put_contents(path('journal'), gethostname() . " $line\n", FILE_APPEND);
}

function keep(float $seconds): array
{
	$file = fopen(path('file'), 'c');
	$locked = flock($file, LOCK_EX);
	journal('has it');
	$failed = $written = $longest = 0;
	for ($end = hrtime(true) + $seconds * 1e9; hrtime(true) < $end; usleep(50000)) {
		$start = hrtime(true);
		rewind($file);
		if (fwrite($file, 'x') === 1 && fflush($file) && fsync($file))
			$written++;
		else
			$failed++;
		$longest = max($longest, (hrtime(true) - $start) / 1e9);
	}
	journal('lets go');
	return ['locked' => $locked, 'unlocked' => flock($file, LOCK_UN), 'written' => $written, 'failed' => $failed,
		'longest' => $longest];
}

function take(): array
{
	$file = fopen(path('file'), 'c');
	$locked = flock($file, LOCK_EX);
	journal('has it');
	return ['locked' => $locked, 'unlocked' => flock($file, LOCK_UN)];
}

$answer = match ($_GET['do'] ?? '') {
	'reset' => array_map(fn($name) => file_put_contents(path($name), ''), ['file', 'journal']),
	'keep' => keep((float)$_GET['s']),
	'holding' => ['holding' => str_contains((string)@file_get_contents(path('journal')), 'has it')],
	'take' => take(),
	default => ['error' => 'do what?'],
};
echo json_encode($answer + ['php' => gethostname(), 'journal' => file(path('journal'), FILE_IGNORE_NEW_LINES)]), "\n";
