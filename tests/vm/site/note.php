<?php
/* ?write=TEXT keeps a text in a file of the share; without it, what the file holds and who says so. */
$path = __DIR__ . '/note';
if (isset($_GET['write']))
	$written = file_put_contents($path, $_GET['write'], LOCK_EX);
echo json_encode(['php' => gethostname(), 'note' => @file_get_contents($path), 'written' => $written ?? null]), "\n";
