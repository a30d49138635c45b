<?php
/*
 * A lock handed from one PHP machine to another. What happened is told by the order of lines in a journal on the share, never
 * by clocks. A waiting machine says so first, in a file of its own; opening a file is what makes an NFS client look again.
 *
 *   ?do=reset         empty files
 *   ?do=hold          take the lock, write "NODE has it", wait until somebody asks, write "NODE lets go", unlock
 *   ?do=holding       whether the journal says that somebody has it
 *   ?do=wait          try without waiting; say that we ask; wait for the lock; write "NODE has it"; unlock
 *   ?do=count&n=N     N times: lock, read a number, add one, write it, unlock
 */
const PATIENCE_S = 60;

function path(string $name): string
{
	return __DIR__ . "/lock-$name";
}

function journal(string $line): void
{
	file_put_contents(path('journal'), gethostname() . " $line\n", FILE_APPEND);
}

function wait_for(callable $condition): bool
{
	for ($end = hrtime(true) + PATIENCE_S * 1e9; !$condition(); usleep(20000))
		if (hrtime(true) > $end)
			return false;
	return true;
}

function hold(): array
{
	$file = fopen(path('file'), 'c');
	$locked = flock($file, LOCK_EX);
	journal('has it');
	$asked = wait_for(fn() => file_get_contents(path('asked')) !== '');
	usleep(300000); /* lets the other one's request reach the server: a lock asked for later proves less, but holds as well */
	journal('lets go');
	return ['locked' => $locked, 'asked' => $asked, 'unlocked' => flock($file, LOCK_UN)];
}

function wait(): array
{
	$file = fopen(path('file'), 'c');
	$free = flock($file, LOCK_EX | LOCK_NB, $would_block);
	file_put_contents(path('asked'), gethostname());
	$start = hrtime(true);
	$locked = flock($file, LOCK_EX);
	$seconds = (hrtime(true) - $start) / 1e9;
	journal('has it');
	return ['free' => $free, 'would_block' => (bool)$would_block, 'locked' => $locked, 'seconds' => $seconds];
}

function count_up(int $times): array
{
	for ($i = 0; $i < $times; $i++) {
		$file = fopen(path('number'), 'c+');
		flock($file, LOCK_EX);
		$number = (int)stream_get_contents($file) + 1;
		rewind($file);
		fwrite($file, (string)$number);
		fflush($file);
		flock($file, LOCK_UN);
		fclose($file);
	}
	return ['counted' => $times];
}

$answer = match ($_GET['do'] ?? '') {
	'reset' => array_map(fn($name) => file_put_contents(path($name), ''), ['file', 'journal', 'asked', 'number']),
	'hold' => hold(),
	'holding' => ['holding' => str_contains((string)@file_get_contents(path('journal')), 'has it')],
	'wait' => wait(),
	'count' => count_up((int)$_GET['n']),
	default => ['error' => 'do what?'],
};
echo json_encode($answer + ['php' => gethostname(), 'journal' => file(path('journal'), FILE_IGNORE_NEW_LINES),
	'number' => file_get_contents(path('number'))]), "\n";
