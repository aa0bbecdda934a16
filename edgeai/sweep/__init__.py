"""Many combinations at once: the plan, the tasks, the engines that run them, and the table."""
