package main

// The database, SQLite in one file, which all processes of this machine share.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/penstock-io/penstock"
)

const schema = `
CREATE TABLE IF NOT EXISTS bills (
	id       TEXT PRIMARY KEY, -- an order that comes again is known
	item     TEXT NOT NULL,
	quantity INTEGER NOT NULL,
	times    INTEGER NOT NULL  -- how often it came
);
CREATE TABLE IF NOT EXISTS positions (
	partition INTEGER PRIMARY KEY,
	fence     INTEGER NOT NULL, -- the largest that has written
	next      INTEGER NOT NULL  -- the offset that has to be written next
);
CREATE TABLE IF NOT EXISTS sold ( -- a record that counted twice could not be told from two
	item     TEXT PRIMARY KEY,
	orders   INTEGER NOT NULL,
	quantity INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS audited ( -- without a key on purpose: it shows what came twice
	partition INTEGER NOT NULL,
	offset    INTEGER NOT NULL,
	id        TEXT NOT NULL
);`

// errFenced is for a projector that has lost its partition and may not know it.
var errFenced = errors.New("another projector has written this partition under a larger fence")

type store struct{ db *sql.DB }

func openStore(ctx context.Context, file string) (*store, error) {
	// A transaction takes the lock of the file as it begins (immediate), so that what it
	// has read stays true until it writes.
	dsn := url.URL{Scheme: "file", Opaque: file, RawQuery: url.Values{
		"_pragma": {"busy_timeout(2000)", "journal_mode(WAL)", "synchronous(NORMAL)"},
		"_txlock": {"immediate"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, schema)
	for isBusy(err) && ctx.Err() == nil { // processes that make the file at the same time are not made to wait
		_, err = db.ExecContext(ctx, schema)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", file, err), db.Close())
	}
	return &store{db}, nil
}

func (s *store) close() error { return s.db.Close() }

// isBusy reports whether another process has held the lock for too long.
func isBusy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// bill writes the bill of an order. The second time it only counts.
func (s *store) bill(ctx context.Context, o order) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO bills VALUES (?, ?, ?, 1)
		ON CONFLICT (id) DO UPDATE SET times = times + 1`, o.ID, o.Item, o.Quantity)
	return err
}

// project counts a record. The position moves in the same transaction, so a record
// counts once, however often it comes: the commits of the group in etcd only say
// where to begin. The fence keeps out whoever has lost the partition: once the new
// owner has written, the old one never will.
func (s *store) project(ctx context.Context, r penstock.Record, o order) (err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // does nothing after Commit

	fence, next := int64(0), int64(0)
	err = tx.QueryRowContext(ctx, `SELECT fence, next FROM positions WHERE partition = ?`, r.Partition).Scan(&fence, &next)
	switch {
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	case r.Fence < fence:
		return fmt.Errorf("partition %d, offset %d: %w", r.Partition, r.Offset, errFenced)
	case r.Offset < next:
		return nil // it has counted
	case r.Offset > next:
		return fmt.Errorf("partition %d: offset %d comes before %d: the database is older than the group; reset the group to it",
			r.Partition, r.Offset, next)
	}
	for _, change := range []struct {
		query string
		args  []any
	}{
		{`INSERT OR REPLACE INTO positions VALUES (?, ?, ?)`, []any{r.Partition, r.Fence, r.Offset + 1}},
		{`INSERT INTO audited VALUES (?, ?, ?)`, []any{r.Partition, r.Offset, o.ID}},
		{`INSERT INTO sold VALUES (?, 1, ?) ON CONFLICT (item) DO UPDATE
			SET orders = orders + 1, quantity = quantity + excluded.quantity`, []any{o.Item, o.Quantity}},
	} {
		if _, err := tx.ExecContext(ctx, change.query, change.args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}
