"""Between the relay and the sinks: nothing is lost, and no sink waits for another.

spool         numbered blocks of lines, in memory; on disk as soon as a sink lags
segments      the disk's part of it: framed, checked, cut where torn
positions     how far each sink and the source got: one SQLite file, one transaction
delivery      a thread for each sink: takes blocks, hands batches to its client, tries again
treatment     what becomes of an event on the way to one sink
  route       whether it goes there: rules, and one in so many of a flood
  aggregate   identical alerts of a window become one
outstanding   which blocks a sink is through with
dead_letters  what a sink will never take

            spool                       treatment        client
    put ──> 1 2 3 4 5 6 7  ──take──>  lines, events ──> batches ──> acknowledged
                ^   ^   ^                                                │
            each sink's own place <──────────────────────────────────────┘
"""
