package sched

// queue is a binary heap of waiting tasks: the largest key first, then members of one group, then the oldest.
type queue struct{ tasks []*Task }

func (q *queue) len() int { return len(q.tasks) }

func before(a, b *Task) bool {
	if a.place.key != b.place.key {
		return a.place.key > b.place.key
	}
	if a.place.group != b.place.group {
		return a.place.group < b.place.group
	}
	return a.ID < b.ID
}

func (q *queue) push(t *Task) {
	t.place.index = len(q.tasks)
	q.tasks = append(q.tasks, t)
	q.up(t.place.index)
}

func (q *queue) pop() *Task {
	t := q.tasks[0]
	q.remove(t)
	return t
}

func (q *queue) remove(t *Task) {
	i, last := t.place.index, len(q.tasks)-1
	q.swap(i, last)
	q.tasks[last] = nil
	q.tasks = q.tasks[:last]
	if i < last {
		q.fix(q.tasks[i])
	}
}

// fix restores the order after t's key changed.
func (q *queue) fix(t *Task) {
	i := t.place.index
	q.up(i)
	if t.place.index == i {
		q.down(i)
	}
}

func (q *queue) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !before(q.tasks[i], q.tasks[parent]) {
			return
		}
		q.swap(i, parent)
		i = parent
	}
}

func (q *queue) down(i int) {
	for {
		best := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(q.tasks); c++ {
			if before(q.tasks[c], q.tasks[best]) {
				best = c
			}
		}
		if best == i {
			return
		}
		q.swap(i, best)
		i = best
	}
}

func (q *queue) swap(i, j int) {
	q.tasks[i], q.tasks[j] = q.tasks[j], q.tasks[i]
	q.tasks[i].place.index = i
	q.tasks[j].place.index = j
}
