<?php
/* Who made this page: the machine and the worker. ?ms=N takes that long first. */
header('Cache-Control: no-store');
usleep(1000 * (int)($_GET['ms'] ?? 0));
echo json_encode(['php' => gethostname(), 'pid' => getmypid()]), "\n";
