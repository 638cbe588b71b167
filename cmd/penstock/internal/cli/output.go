package cli

// What is acked or committed because it was written must have been written.

import (
	"fmt"
	"os"
)

// OutputOpen is an error where what is written to standard output reaches nobody
// and no write would say so: where it is closed, or open for reading only.
func (a *App) OutputOpen() error {
	f, ok := a.Out.(*os.File)
	if !ok {
		return nil
	}
	if fault := outputFault(f); fault != "" {
		return fmt.Errorf("standard output %s: nothing was taken", fault)
	}
	return nil
}
