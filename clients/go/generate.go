// Package client holds the generated Go client of ram-facade, in ramfacade/v1, and an example of its use.
package client

//go:generate buf generate
