// Package backup has the commands that write a topic to a file and put one back:
// penstock topic export and penstock topic import.
package backup
